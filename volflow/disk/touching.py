"""Gives files a new ctime, so that restic reads them again.

restic has no option to read some files again. It reads a file if its ctime differs from that in
the parent backup; so these get another one, on a copy of the volume that is deleted afterwards.
Nothing else about them changes: mode, contents, flags and the other times stay.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``touching.py TREE`` reads from its standard input the paths of regular files in
the tree, each with a zero byte after it, and prints those that cannot be opened: restic cannot
read them either, and reports them.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import runpy
import stat
import sys
import time
from collections.abc import Iterable, Iterator

# ioctl_iflags(2). Files with one of these flags refuse a new mode.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOATIME | os.O_CLOEXEC
# What says that a file cannot be read: damaged, encrypted, or with too long a path.
_UNREADABLE = {errno.EIO, errno.ENOKEY, errno.ENAMETOOLONG, errno.EUCLEAN, errno.EBADMSG}
# Seconds until the coarsest clock of a file system has certainly moved.
_TICK = 1.1


def touch(tree: str, paths: Iterable[str]) -> Iterator[str]:
    """Give files of a tree another ctime.

    :returns: the paths of files that cannot be opened
    :raises OSError: a file could not be changed, for example because the tree is read-only
    """
    late = []
    for path in paths:
        whole = os.path.join(tree, path)
        try:
            if not _touch(whole):
                late.append(whole)
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            yield path
    if late:
        # They were changed within this very second, by a clock that shows seconds only.
        time.sleep(_TICK)
        for whole in late:
            if not _touch(whole):
                raise OSError(errno.EIO, "its ctime does not change", whole)


def _touch(path: str) -> bool:
    """Whether the file has another ctime now."""
    fd = os.open(path, _OPEN)
    try:
        before = os.fstat(fd)
        try:
            os.fchmod(fd, stat.S_IMODE(before.st_mode))
        except PermissionError:
            _lift_and_set(fd)
        return os.fstat(fd).st_ctime_ns != before.st_ctime_ns
    except OSError as error:
        # Calls with a descriptor name no path.
        error.filename = path
        raise
    finally:
        os.close(fd)


def _lift_and_set(fd: int) -> None:
    """Take away the flags that refuse a change, and set them again; each sets the ctime."""
    flags = array.array("l", [0])
    fcntl.ioctl(fd, _GET_FLAGS, flags)
    # The kernel takes an int, although the request says long.
    kept = flags[0] & 0xFFFFFFFF
    fcntl.ioctl(fd, _SET_FLAGS, array.array("l", [kept & ~(_IMMUTABLE | _APPEND_ONLY)]))
    fcntl.ioctl(fd, _SET_FLAGS, array.array("l", [kept]))


def main(tree: str) -> None:
    """Give the files on the standard input another ctime; print those that cannot be opened."""
    given = sys.stdin.buffer.read().split(b"\0")[:-1]
    for unread in touch(tree, map(os.fsdecode, given)):
        sys.stdout.buffer.write(os.fsencode(unread) + b"\0")


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
