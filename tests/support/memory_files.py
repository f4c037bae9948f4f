"""The files of a backup in memory: how they are read from a tree, and written to one."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volflow.errors import RepositoryError

_BLOCK = 4096
_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "chardev",
    stat.S_IFBLK: "dev",
}


@dataclass(frozen=True)
class Entry:
    """A file as it was, with the checksum of its content."""

    status: os.stat_result
    content: bytes
    checksum: str
    xattrs: Mapping[str, bytes]

    @property
    def type(self) -> str:
        return _TYPES[stat.S_IFMT(self.status.st_mode)]

    @property
    def metadata(self) -> tuple[object, ...]:
        status = self.status
        return (status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns, self.xattrs)

    @property
    def inode(self) -> tuple[int, int]:
        return self.status.st_dev, self.status.st_ino

    def unchanged(self, status: os.stat_result) -> bool:
        names = ("st_ino", "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")
        return all(getattr(status, name) == getattr(self.status, name) for name in names)


Files = dict[str, Entry]


def read(path: str, before: Entry | None) -> tuple[Entry, bool]:
    """A file, and whether its content had to be read."""
    status = os.lstat(path)
    names = os.listxattr(path, follow_symlinks=False)
    xattrs = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    if before and before.unchanged(status):
        return replace(before, xattrs=xattrs), False
    content = b""
    if stat.S_ISREG(status.st_mode):
        content = Path(path).read_bytes()
    elif stat.S_ISLNK(status.st_mode):
        content = os.fsencode(os.readlink(path))
    return Entry(status, content, hashlib.sha256(content).hexdigest(), xattrs), True


def walk(tree: Path, without: Sequence[str] = ()) -> Iterator[str]:
    """The tree as an empty path, then every path below it with a leading slash.

    :param without: paths in the tree that are left out with everything below them
    """
    pending = [""]
    while pending:
        name = pending.pop()
        if name[1:] in without and name:
            continue
        yield name
        if os.path.isdir(f"{tree}{name}") and not os.path.islink(f"{tree}{name}"):
            pending += [f"{name}/{each}" for each in sorted(os.listdir(f"{tree}{name}"))]


def write(path: str, entry: Entry) -> None:
    status = entry.status
    if entry.type == "dir":
        os.makedirs(path, exist_ok=True)
    elif entry.type == "symlink":
        os.symlink(entry.content, path)
    elif entry.type != "file":
        os.mknod(path, status.st_mode, status.st_rdev)
    else:
        with open(path, "wb") as file:
            for start in range(0, len(entry.content), _BLOCK):
                block = entry.content[start : start + _BLOCK]
                if any(block):
                    file.seek(start)
                    file.write(block)
            file.truncate(len(entry.content))
    os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
    if entry.type != "symlink":
        os.chmod(path, stat.S_IMODE(status.st_mode))
    if entry.type != "dir":
        set_xattrs(path, entry)


def set_xattrs(path: str, entry: Entry) -> None:
    for name, value in entry.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)


def compared(entry: Entry | None) -> tuple[object, ...] | None:
    if entry is None:
        return None
    status = entry.status
    return (entry.content, status.st_mode, status.st_uid, status.st_gid)


def check(entries: Iterable[Entry]) -> int:
    size = 0
    for entry in entries:
        if hashlib.sha256(entry.content).hexdigest() != entry.checksum:
            raise RepositoryError("Data is damaged.")
        size += len(entry.content)
    return size
