"""A directory for everything that a benchmark creates. It is always removed at the end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def directory() -> Iterator[Path]:
    """Create the directory. It is not removed while a lab in it still has mounts."""
    # Like Ctrl-C: the lab is taken down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made = Path(
        tempfile.mkdtemp(prefix="volflow-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    ).resolve()
    try:
        yield made
    finally:
        if not (made / "lab").exists():
            shutil.rmtree(made)


def room(path: Path, needed: int) -> None:
    """Make sure that a directory has enough free space.

    :param needed: bytes
    :raises SystemExit: it has not
    """
    free = shutil.disk_usage(path).free
    if free < needed:
        sys.exit(
            f"{path} has {free / 1e9:.0f} GB free, but the bench uses up to {needed / 1e9:.0f} "
            "GB: set TMPDIR to another directory, or use --short."
        )
