"""A directory for everything that a bench makes, which is removed at its end, whatever happens."""

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
    """Make the directory. While a lab is left in it, it stays: it holds mounts then."""
    # As Ctrl-C: what was begun is taken down.
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
    """Make sure that there is so much room.

    :raises SystemExit: there is not
    """
    free = shutil.disk_usage(path).free
    if free < needed:
        sys.exit(
            f"{path} has {free / 1e9:.0f} GB free, and this bench takes up to {needed / 1e9:.0f} "
            "GB: name another place with TMPDIR, or use --short."
        )
