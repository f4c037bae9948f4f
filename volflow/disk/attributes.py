"""What restic does not store of files: inode flags, project ids and birth times.

They are kept in a text file beside restic's data, which restic stores like any other file: one line
of JSON that says what follows, then one or more for each directory, in a fixed order, so that
an unchanged tree gives an unchanged file, and a small change a small one::

    {"format": 1, "flags": "ext"}
    ["etc/cron.d", [["backup", 1764259200123456789, 16, 7], ["other", 52000]]]

An entry has its name, its birth time in nanoseconds since the epoch as the difference to the entry
before (null: not known), its flags and its project id; zeros at the end are left out. The entry of
the tree itself has an empty name. Flags are those of FS_IOC_GETFLAGS (``ext``: ioctl_iflags(2)) or
of FS_IOC_FSGETXATTR (``xfs``: ioctl_fsgetxattr(2)). Symbolic links and special files have neither
flags nor a project id here: the kernel gives them only for what can be opened.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``attributes.py TREE FILE FLAGS PROJECTS LIMIT`` writes the file, and prints a
JSON object with what is in it, with what was left out because the file would have more than LIMIT
bytes, and with the directories that fscrypt encrypts: their names mean nothing without the key, so
nothing is looked at below them. FLAGS is ``ext``, ``xfs`` or ``none``; PROJECTS is 1 if files can
have a project id.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import runpy
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import IO, Any

FORMAT = 1
#: Bytes of a file that a restore reads at most, and of one line of it.
MOST_BYTES, LONGEST_LINE = 128 * 2**20, 8 * 2**20
# The entries of one line: a larger directory has several.
_ENTRIES = 1000

# ioctl_iflags(2), and ioctl_fsgetxattr(2): flags, extent size, extents, project id, and more.
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
_GET_XATTR, _SET_XATTR = 0x801C581F, 0x401C5820
_XATTR = struct.Struct("=5I8x")
# Those that a user can set and that say how to treat the file, not how it is stored. ext: s u c S i
# a d A j t D T x P; XFS: i a S A d P (nosymlinks) (nodefrag) (filestream).
_KEPT = {
    "ext": 0x2203C0FF,
    "xfs": 0x08 | 0x10 | 0x20 | 0x40 | 0x80 | 0x200 | 0x400 | 0x2000 | 0x4000,
}
# Immutable and append-only.
_LOCKS = {"ext": 0x10 | 0x20, "xfs": 0x08 | 0x10}
# statx(2): the mask, the attributes, the mode, and the birth time.
_STATX = struct.Struct("=I4xQ12xH50xqI")
_BTIME, _ENCRYPTED = 0x800, 0x800
_AT = 0x100 | 0x800  # AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: How files and directories are opened to look at them.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
# What these write into.
_NOTHING, _NONE = bytes(8), bytes(28)


class Attributes:
    """Reads and sets flags and project ids.

    :param family: ``ext``, ``xfs`` or ``none``
    :param projects: files can have a project id
    """

    def __init__(self, family: str, *, projects: bool) -> None:
        self.family, self._projects = family, projects
        self._known: dict[bytes, int] = {}
        self.kept, self.locks = _KEPT.get(family, 0), _LOCKS.get(family, 0)

    def get(self, fd: int) -> tuple[int, int]:
        """The flags and the project id of an open file or directory."""
        if self.family == "ext" and not self._projects:
            raw = fcntl.ioctl(fd, GET_FLAGS, _NOTHING)
            flags = self._known.get(raw)
            if flags is None:
                flags = self._known[raw] = int.from_bytes(raw[:4], sys.byteorder) & self.kept
            return flags, 0
        if self.family == "xfs":
            flags, _, _, project, _ = _XATTR.unpack(fcntl.ioctl(fd, _GET_XATTR, _NONE))
            return flags & self.kept, project
        flags = project = 0
        if self.family == "ext":
            flags = int.from_bytes(fcntl.ioctl(fd, GET_FLAGS, _NOTHING)[:4], sys.byteorder)
        if self._projects:
            project = _XATTR.unpack(fcntl.ioctl(fd, _GET_XATTR, _NONE))[3]
        return flags & self.kept, project

    def set(self, fd: int, flags: int, project: int) -> None:
        """Give an open file or directory these flags, and this project id.

        :raises OSError: not all of it can be set; the rest is
        """
        flags &= self.kept
        has, old = self.get(fd)
        trouble: OSError | None = None
        if old != project:
            try:
                self._write(fd, has, project)
            except OSError as error:
                trouble, project = error, old
        try:
            if has != flags:
                self._write(fd, flags, project)
        except OSError as error:
            trouble = error
            for bit in (1 << n for n in range(32)):
                if (has ^ flags) & bit:
                    # One flag that this host cannot set must not prevent the others.
                    with suppress(OSError):
                        self._write(fd, has ^ bit, project)
                        has ^= bit
        if trouble:
            raise trouble

    def lock(self, fd: int, flags: int) -> None:
        """Make an open file or directory immutable or append-only, if it is not."""
        has, project = self.get(fd)
        if flags & self.locks & ~has:
            self._write(fd, has | flags & self.locks, project)

    def _write(self, fd: int, flags: int, project: int) -> None:
        has, old = self.get(fd)
        if self.family == "xfs" or old != project:
            own, extent, extents, _, cow = _XATTR.unpack(fcntl.ioctl(fd, _GET_XATTR, _NONE))
            if self.family == "xfs":
                own = own & ~self.kept | flags
            fcntl.ioctl(fd, _SET_XATTR, _XATTR.pack(own, extent, extents, project, cow))
        if self.family == "ext" and has != flags:
            whole = int.from_bytes(fcntl.ioctl(fd, GET_FLAGS, _NOTHING)[:4], sys.byteorder)
            whole = whole & ~self.kept | flags
            fcntl.ioctl(fd, SET_FLAGS, whole.to_bytes(4, sys.byteorder) + bytes(4))


class Directory:
    """A directory that is open, and its names that are still to be looked at, in their order."""

    def __init__(self, fd: int, above: str) -> None:
        self.fd, self.above = fd, above
        self.below: list[str] = []
        try:
            self.names = sorted(os.listdir(fd))
        except OSError:
            os.close(fd)
            raise


def walk(tree: str) -> Iterator[Directory]:
    """Each directory of a tree, from the top. The caller adds those of its names to go into.

    What cannot be opened is left out: the copy cannot read it either, and reports it.
    """
    try:
        trail = [Directory(os.open(tree, _DIRECTORY), "")]
    except OSError:
        return
    try:
        yield trail[0]
        while trail:
            here = trail[-1]
            if not here.below:
                os.close(trail.pop().fd)
                continue
            name = here.below.pop(0)
            with suppress(OSError):
                fd = os.open(name, _DIRECTORY, dir_fd=here.fd)
                trail.append(Directory(fd, f"{here.above}{name}/"))
                yield trail[-1]
    finally:
        for each in trail:
            os.close(each.fd)


class Collector:
    """Writes the attributes of a tree to a file.

    :param limit: bytes that the file may have
    """

    def __init__(self, attributes: Attributes, file: IO[bytes], limit: int) -> None:
        self._attributes, self._file, self._limit = attributes, file, limit
        self._statx = ctypes.CDLL(None, use_errno=True).statx
        self._statx.argtypes = [
            *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint),
            ctypes.c_void_p,
        ]
        self._buffer = ctypes.create_string_buffer(256)
        self._last = 0
        self._written = 0
        # Birth times of all files take most of the room: flags and project ids can use the rest.
        self._room = limit // 2
        self.found = dict.fromkeys(("flags", "projects", "births"), 0)
        self.left_out = dict.fromkeys(("flags", "births"), 0)
        self.encrypted: list[str] = []

    def collect(self, tree: str) -> None:
        header = {"format": FORMAT, "flags": self._attributes.family}
        self._write(json.dumps(header))
        for here in walk(tree):
            self._directory(here)

    def _directory(self, here: Directory) -> None:
        entries = self._entries(here)
        while True:
            last = self._last
            if not (some := list(islice(entries, _ENTRIES))):
                return
            self._add(here, some, last)

    def _add(self, here: Directory, entries: list[list[Any]], last: int) -> None:
        """Write a line.

        :param last: the birth time before that of its first entry
        """
        line = _line(here, entries)
        if self._written + len(line) > self._room:
            # What can be restored comes first.
            self._last = last
            self.left_out["births"] += sum(one[1] is not None for one in entries)
            entries = [[one[0], None, *one[2:]] for one in entries if len(one) > 2]
            line = _line(here, entries)
        if self._written + len(line) > self._limit or len(line) >= LONGEST_LINE:
            self.left_out["flags"] += len(entries)
            return
        if entries:
            self.found["births"] += sum(one[1] is not None for one in entries)
            special = [one for one in entries if len(one) > 2]
            self.found["flags"] += sum(bool(one[2]) for one in special)
            self.found["projects"] += sum(len(one) > 3 for one in special)
            self._write(line)

    def _entries(self, here: Directory) -> Iterator[list[Any]]:
        """What a directory holds, and the tree itself first; goes into the directories in it.

        There can be millions: this is what a backup spends its time on.
        """
        statx, buffer, unpack = self._statx, self._buffer, _STATX.unpack_from
        below = here.below
        for name in here.names if here.above else ["", *here.names]:
            at = _AT if name else _AT | 0x1000  # AT_EMPTY_PATH
            if statx(here.fd, name.encode("utf-8", "surrogateescape"), at, _BTIME, buffer):
                continue
            mask, attributes, mode, seconds, nanoseconds = unpack(buffer)
            kind = mode & 0xF000
            if attributes & _ENCRYPTED:
                if kind == stat.S_IFDIR:
                    self.encrypted.append(f"{here.above}{name}")
                    if not name:
                        return
                    continue
            elif kind == stat.S_IFDIR and name:
                below.append(name)
            born = None
            if mask & _BTIME:
                now = seconds * 1_000_000_000 + nanoseconds
                born, self._last = now - self._last, now
            own = project = 0
            if kind in (stat.S_IFREG, stat.S_IFDIR):
                own, project = self._look(here.fd, name)
            if project:
                yield [name, born, own, project]
            elif own:
                yield [name, born, own]
            elif born is not None:
                yield [name, born]

    def _look(self, place: int, name: str) -> tuple[int, int]:
        """The flags and the project id of what a directory holds under a name."""
        if not self._attributes.kept:
            return 0, 0
        try:
            if not name:
                return self._attributes.get(place)
            fd = os.open(name, READ, dir_fd=place)
        except OSError:
            # The copy cannot read it either, and reports it.
            return 0, 0
        try:
            return self._attributes.get(fd)
        except OSError as error:
            if error.errno not in NO_FLAGS:
                raise
            return 0, 0
        finally:
            os.close(fd)

    def _write(self, line: str) -> None:
        self._written += self._file.write(line.encode() + b"\n")


def _line(here: Directory, entries: list[list[Any]]) -> str:
    return json.dumps([here.above[:-1], entries], separators=(",", ":"))


def allow_depth() -> None:
    """Let this process open a directory for each level of a tree."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(tree: str, target: str, family: str, projects: str, limit: str) -> None:
    """Collect the attributes of a tree."""
    allow_depth()
    with open(target, "wb") as file:
        collector = Collector(Attributes(family, projects=projects == "1"), file, int(limit))
        collector.collect(tree)
    found = {
        "found": collector.found,
        "left_out": collector.left_out,
        "encrypted": collector.encrypted,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
