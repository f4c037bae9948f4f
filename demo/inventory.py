"""Everything that describes a tree of files, to compare it with another one.

For each file, directory, link and device: type, mode, owner, group, modification time to the
nanosecond, extended attributes (including access control lists and capabilities), the names of
hard links to the same file; size, content and holes; the target of a symbolic link; the numbers
of a device. This includes the root directory. Not compared: what no program can set (inode numbers
and the time of the last change of status), and the time of the last access.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Entry:
    """One name in a tree.

    :ivar names: all names of the same file in the tree, the others being hard links
    :ivar data: the ranges of a file that hold data (offset, end); the rest are holes
    :ivar device: of a device
    """

    type: str
    mode: str
    owner: int
    group: int
    changed_ns: int
    attributes: tuple[tuple[str, bytes], ...]
    names: tuple[bytes, ...]
    size: int | None = None
    content: str | None = None
    data: Ranges | None = None
    target: bytes | None = None
    device: tuple[int, int] | None = None


Inventory = Mapping[bytes, Entry]


def take(root: Path, *, without: str | None = None) -> Inventory:
    """Look at every name in a tree, and read every file.

    :param without: a directory in the root; its own properties count, its content does not
    """
    base = os.fsencode(root)
    skipped = os.fsencode(without) if without else None
    found = {path: os.lstat(os.path.join(base, path)) for path in _walk(base, skipped)}
    names: dict[int, list[bytes]] = defaultdict(list)
    for path, status in found.items():
        names[status.st_ino].append(path)
    return {
        path: _entry(os.path.join(base, path), status, tuple(sorted(names[status.st_ino])))
        for path, status in found.items()
    }


def differences(expected: Inventory, found: Inventory) -> list[str]:
    """The differences, one line each; empty if the trees are equal."""
    lines = [f"{_shown(path)}: missing" for path in sorted(expected.keys() - found.keys())]
    lines += [f"{_shown(path)}: not expected" for path in sorted(found.keys() - expected.keys())]
    for path in sorted(expected.keys() & found.keys()):
        for field in fields(Entry):
            was, now = (getattr(tree[path], field.name) for tree in (expected, found))
            if was != now:
                lines.append(f"{_shown(path)}: {field.name} was {was!r}, is {now!r}")
    return lines


def changed_files(before: Inventory, after: Inventory) -> int:
    """The number of files that were added or changed."""
    files = (path for path, entry in after.items() if entry.type == "file")
    return sum(after[path] != before.get(path) for path in files)


def files(inventory: Inventory) -> int:
    """The number of files."""
    return sum(entry.type == "file" for entry in inventory.values())


def _walk(base: bytes, skipped: bytes | None) -> Iterator[bytes]:
    """Every path in the tree, relative to the root; the root is ``.``."""
    pending = [b"."]
    while pending:
        path = pending.pop()
        yield path
        status = os.lstat(os.path.join(base, path))
        if stat.S_ISDIR(status.st_mode) and path != skipped:
            children = sorted(os.listdir(os.path.join(base, path)), reverse=True)
            pending += [os.path.normpath(os.path.join(path, child)) for child in children]


_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}


def _entry(path: bytes, status: os.stat_result, names: tuple[bytes, ...]) -> Entry:
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    size = content = data = target = device = None
    if kind == "file":
        size = status.st_size
        content, data = _content(path, size)
    elif kind == "symbolic link":
        target = os.readlink(path)
    elif "device" in kind:
        device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    return Entry(
        type=kind,
        mode=f"{stat.S_IMODE(status.st_mode):04o}",
        owner=status.st_uid,
        group=status.st_gid,
        changed_ns=status.st_mtime_ns,
        attributes=tuple(
            (name, os.getxattr(path, name, follow_symlinks=False))
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        ),
        names=names,
        size=size,
        content=content,
        data=data,
        target=target,
        device=device,
    )


def _content(path: bytes, size: int) -> tuple[str, Ranges]:
    """The checksum of a file, and where in it there is data (lseek(2), SEEK_DATA)."""
    with open(path, "rb", buffering=0) as file:
        content = hashlib.file_digest(file, "blake2b").hexdigest()[:32]
        ranges = []
        end = 0
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # ENXIO: from here on a hole
                break
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            ranges.append((start, end))
    return content, tuple(ranges)


def _shown(path: bytes) -> str:
    return ascii(os.fsdecode(path))
