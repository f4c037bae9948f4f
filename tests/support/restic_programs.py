"""The versions of restic that the tests use: the host's version and the newest version."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

# The path of the newest restic; if unset, Debian's newest package is downloaded once.
_VARIABLE = "VOLFLOW_NEWEST_RESTIC"
_SOURCE = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    "http://deb.debian.org/debian sid main\n"
)
_LIMIT = 120.0


@cache
def newest() -> str | None:
    """The newest restic; None if it can neither be found nor downloaded.

    It is a static program: it runs on every release of Debian.
    """
    if given := os.environ.get(_VARIABLE):
        return given
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = cached / "volflow-tests" / "restic-newest"
    if not kept.exists() and shutil.which("apt-get"):
        try:
            _download(kept)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
    return str(kept) if kept.exists() else None


def _download(to: Path) -> None:
    """Download Debian's newest package; apt checks its signature, and nothing is installed."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to.parent) as name:
        directory = Path(name)
        (directory / "lists/partial").mkdir(parents=True)
        source = directory / "newest.list"
        source.write_text(_SOURCE)
        apt = (
            *("apt-get", "-q", "-o", f"Dir::Etc::sourcelist={source}"),
            *("-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::Lists={directory}/lists"),
            *("-o", f"Dir::Cache={directory}/cache"),
        )
        for command in (
            (*apt, "update"),
            (*apt, "download", "restic/sid"),
        ):
            _run(*command, directory=directory)
        (package,) = directory.glob("restic_*.deb")
        _run("dpkg-deb", "--extract", str(package), "root", directory=directory)
        # Another process may do this at the same time.
        (directory / "root/usr/bin/restic").rename(to)


def _run(*command: str, directory: Path) -> None:
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=_LIMIT)
