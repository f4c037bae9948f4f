"""A file tree with every odd kind of file, and a comparison that finds every difference.

Neither uses code of volflow.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

MIB = 1024**2
# 2001-09-09, with nanoseconds that any rounding would change.
MOMENT = 1_000_000_000_123_456_789

Tree = dict[bytes, "Entry"]


@dataclass(frozen=True)
class Entry:
    """All facts of one file, except its inode number, ctime and atime."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    links: int
    #: The first path of the same inode: equal for hard links of each other.
    same_as: bytes
    size: int
    device: int
    target: bytes
    xattrs: dict[str, bytes] = field(default_factory=dict)
    digest: str = ""
    #: The byte ranges with data; the gaps are holes.
    data: tuple[tuple[int, int], ...] = ()


def describe(root: Path | str) -> Tree:
    """Every entry below a directory, and the directory itself as ``b"."``, by its path."""
    base = os.fsencode(root)
    found: Tree = {}
    first: dict[tuple[int, int], bytes] = {}
    for path in _walk(base):
        name = os.path.relpath(path, base)
        status = os.lstat(path)
        kind = stat.S_IFMT(status.st_mode)
        regular, directory = kind == stat.S_IFREG, kind == stat.S_IFDIR
        inode = (status.st_dev, status.st_ino)
        digest, data = _content(path) if regular else ("", ())
        found[name] = Entry(
            kind=stat.filemode(status.st_mode)[0],
            mode=stat.S_IMODE(status.st_mode),
            owner=(status.st_uid, status.st_gid),
            mtime=status.st_mtime_ns,
            links=status.st_nlink,
            same_as=name if directory else first.setdefault(inode, name),
            size=0 if directory else status.st_size,
            device=status.st_rdev,
            target=os.readlink(path) if kind == stat.S_IFLNK else b"",
            xattrs={
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in sorted(os.listxattr(path, follow_symlinks=False))
            },
            digest=digest,
            data=data,
        )
    return found


def differences(before: Tree, after: Tree) -> list[str]:
    """The differences, one line each; an empty list if the trees are equal."""
    found = [f"{path!r} is gone" for path in before.keys() - after.keys()]
    found += [f"{path!r} is too much" for path in after.keys() - before.keys()]
    for path in sorted(before.keys() & after.keys()):
        for each in fields(Entry):
            was, now = (getattr(tree[path], each.name) for tree in (before, after))
            if was != now:
                found.append(f"{path!r}: {each.name} was {was!r} and is {now!r}")
    return sorted(found)


def assert_same(before: Tree, after: Tree) -> None:
    """Fail with all differences, one line each."""
    found = differences(before, after)
    assert not found, f"{len(found)} differences:\n" + "\n".join(found[:50])


def _walk(base: bytes) -> Iterator[bytes]:
    pending = [base]
    while pending:
        path = pending.pop()
        yield path
        if stat.S_ISDIR(os.lstat(path).st_mode):
            pending += sorted((os.path.join(path, name) for name in os.listdir(path)), reverse=True)


def _content(path: bytes) -> tuple[str, tuple[tuple[int, int], ...]]:
    digest = hashlib.sha256()
    data = []
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            end = min(os.lseek(file.fileno(), start, os.SEEK_HOLE), size)
            data.append((start, end - start))
            # The position of data counts too: zeros and a hole read the same.
            digest.update(struct.pack("<QQ", start, end))
            os.lseek(file.fileno(), start, os.SEEK_SET)
            left = end - start
            while left:
                block = file.read(min(left, MIB))
                digest.update(block)
                left -= len(block)
            position = end
    return digest.hexdigest(), tuple(data)


# Making a tree


def make(root: Path, *, posix_acls: bool = True) -> None:
    """Fill a directory with everything that a file system can hold.

    Needs root. Times are set last, from the leaves up.
    """
    _contents(root)
    _links(root)
    _specials(root)
    _owners_and_modes(root)
    _attributes(root, posix_acls=posix_acls)
    _sparse(root)
    _names(root)
    _depth(root)
    # The attributes of the root directory itself.
    os.chown(root, 1234, 4321)
    os.chmod(root, 0o2751)
    os.setxattr(root, "user.of.the.root", b"\x00\xff root")
    touch_all(root)


def touch_all(root: Path) -> None:
    """Give each entry its own time, to the nanosecond."""
    for number, path in enumerate(reversed(list(_walk(os.fsencode(root))))):
        if os.path.basename(path) == b"lost+found":
            continue
        moment = MOMENT + number * 1_000_000_007
        os.utime(path, ns=(moment, moment), follow_symlinks=False)
    # Before 1970.
    os.utime(root / "old", ns=(0, -86_400_000_000_000), follow_symlinks=False)


def _contents(root: Path) -> None:
    (root / "empty").write_bytes(b"")
    (root / "one byte").write_bytes(b"1")
    (root / "text").write_text("Ein Stück Text\n" * 1000)
    (root / "random").write_bytes(os.urandom(3 * MIB + 17))
    (root / "old").write_bytes(b"from before 1970")
    (root / "empty directory").mkdir()
    (root / "many").mkdir()
    for number in range(200):
        (root / "many" / f"{number:03}").write_text(f"{number}\n" * number)


def _links(root: Path) -> None:
    directory = root / "links"
    directory.mkdir()
    (directory / "to a file").symlink_to("../text")
    (directory / "to nothing").symlink_to("nowhere/at all")
    (directory / "absolute").symlink_to("/etc/passwd")
    (directory / "to a directory").symlink_to("../many")
    (directory / "long").symlink_to("x" * 200)
    (directory / "first").write_text("three names\n")
    os.link(directory / "first", directory / "second")
    os.link(directory / "first", root / "third")
    os.lchown(directory / "to a file", 77, 88)


def _specials(root: Path) -> None:
    directory = root / "special"
    directory.mkdir()
    os.mkfifo(directory / "fifo", 0o622)
    os.mknod(directory / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(directory / "block", 0o640 | stat.S_IFBLK, os.makedev(259, 65_000))


def _owners_and_modes(root: Path) -> None:
    directory = root / "modes"
    directory.mkdir()
    for mode in (0o000, 0o400, 0o644, 0o777, 0o4755, 0o2755, 0o6711, 0o1644):
        file = directory / f"{mode:04o}"
        file.write_text(f"{mode:o}\n")
        os.chown(file, 1000 + mode % 7, 2_000_000_000)
        # After chown, which clears the set-id bits.
        os.chmod(file, mode)
    for mode in (0o000, 0o1777, 0o3770, 0o700):
        child = directory / f"d{mode:04o}"
        child.mkdir()
        (child / "inside").write_text("inside\n")
        os.chmod(child, mode)


def _attributes(root: Path, *, posix_acls: bool) -> None:
    directory = root / "attributes"
    directory.mkdir()
    file = directory / "file"
    file.write_text("with attributes\n")
    os.setxattr(file, "user.text", "schön".encode())
    os.setxattr(file, "user.empty", b"")
    os.setxattr(file, "user.binary", bytes(range(256)))
    os.setxattr(file, "trusted.overlay.opaque", b"y")
    os.setxattr(directory, "user.on.a.directory", b"yes")
    os.setxattr(directory, "trusted.on.a.directory", b"yes")
    program = directory / "ping"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # struct vfs_cap_data of revision 2: cap_net_raw, permitted and effective.
    capability = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
    os.setxattr(program, "security.capability", capability)
    if posix_acls:
        os.setxattr(file, "system.posix_acl_access", _acl())
        os.setxattr(directory, "system.posix_acl_access", _acl())
        os.setxattr(directory, "system.posix_acl_default", _acl())


def _acl() -> bytes:
    """user::rw-, user:1001:r--, group::r--, group:1002:rwx, mask::rwx, other::---"""
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), (2, 4, 1001), (4, 4, nobody), (8, 7, 1002), (16, 7, nobody)]
    entries.append((32, 0, nobody))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _sparse(root: Path) -> None:
    directory = root / "sparse"
    directory.mkdir()
    _holed(directory / "hole at the start", 8 * MIB, [(6 * MIB, 64 * 1024)])
    _holed(directory / "hole at the end", 20 * MIB, [(0, 4096)])
    _holed(directory / "hole only", 40 * MIB, [])
    _holed(directory / "odd size", 5 * MIB + 333, [(0, MIB), (3 * MIB, MIB)])
    _holed(directory / "many", 16 * MIB, [(at * MIB, 8192) for at in range(1, 16, 2)])
    # Written zeros are not a hole.
    (directory / "written zeros").write_bytes(bytes(2 * MIB))
    with open(directory / "zeros and a hole", "wb") as file:
        file.write(bytes(MIB))
        file.truncate(3 * MIB)


def _holed(path: Path, size: int, data: list[tuple[int, int]]) -> None:
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, length in data:
            file.seek(offset)
            file.write(os.urandom(length))


def _names(root: Path) -> None:
    base = os.fsencode(root / "names")
    os.mkdir(base)
    for name in (
        b"with space",
        b"new\nline",
        b"tab\tand\rreturn",
        b"\xff\xfe not UTF-8",
        "schön ☃".encode(),
        b"-rf",
        b"*",
        b"[a]b{c,d}?",
        b"quote'and\"double",
        b"back\\slash",
        b"$HOME `id`",
        b"n" * 255,
        b".hidden",
        b"trailing ",
    ):
        with open(os.path.join(base, name), "wb") as file:
            file.write(name)
    os.mkdir(os.path.join(base, b"directory\nof \xe9"))
    _holed(Path(os.fsdecode(os.path.join(base, b"sparse \xff\n"))), 4 * MIB, [(MIB, 4096)])


def _depth(root: Path) -> None:
    path = root / "deep"
    for number in range(60):
        path = path / f"level {number} of the deep ones"
    path.mkdir(parents=True)
    (path / "at the bottom").write_text("here\n")
