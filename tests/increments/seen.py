"""What is on a file system, and how a backup of it differs."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tests.support.cloud import in_a_namespace, run, unmount


@dataclass(frozen=True)
class File:
    """What must be the same in a backup, and by what restic knows that a file has not changed.

    :ivar kept: type, mode, owner, links, size and mtime
    :ivar content: the digest of its content
    :ivar known: inode, size, mtime and ctime
    """

    kept: tuple[int, ...]
    content: str
    known: tuple[int, ...]

    @property
    def changed(self) -> float:
        """Its ctime in seconds."""
        return self.known[-1] / 1e9


Files = dict[str, File]


def files(root: Path) -> Files:
    """All that is in a directory, by path in it."""
    found = {}
    for directory, names, others in os.walk(root):
        for name in [*names, *others]:
            path = Path(directory, name)
            inside = str(path.relative_to(root))
            if inside.startswith("lost+found"):
                continue
            status = path.lstat()
            regular = stat.S_ISREG(status.st_mode)
            kept = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns)
            found[inside] = File(
                (*kept, status.st_nlink, status.st_size) if regular else kept,
                hashlib.sha256(path.read_bytes()).hexdigest() if regular else "",
                (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
            )
    return found


def on_image(image: Path, kind: str, point: Path) -> Files:
    """The files on an image of a snapshot, after a replay of its journal."""
    point.mkdir(exist_ok=True)
    device = run("losetup", "--find", "--show", str(image)).strip()

    def look() -> Files:
        options = "ro,nouuid" if kind == "xfs" else "ro"
        run("mount", "-t", kind, "-o", options, device, str(point))
        try:
            return files(point)
        finally:
            unmount(point)

    try:
        return in_a_namespace(look)
    finally:
        run("losetup", "--detach", device)


def differences(was: Files, now: Files) -> list[str]:
    """The paths that differ in what must be the same, except in their content alone."""
    return [
        path
        for path in sorted(was.keys() | now.keys())
        if path not in was or path not in now or was[path].kept != now[path].kept
    ]


def stale(was: Files, now: Files) -> list[str]:
    """The paths that differ in their content alone."""
    return [
        path
        for path in sorted(was.keys() & now.keys())
        if was[path].kept == now[path].kept and was[path].content != now[path].content
    ]
