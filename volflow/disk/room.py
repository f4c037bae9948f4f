"""What the file systems of directories can still take.

This file runs as a program of its own, as root, with nothing but the standard library:
``room.py DIRECTORY...``. For each directory, or its nearest existing parent, it prints an object of
a JSON list: the free bytes, the free inodes (null where a file system does not count them), and the
number of the error with which it refuses a file of 1 MiB; 0 if it takes one.
"""

from __future__ import annotations

import errno
import json
import os
import runpy
from typing import TypedDict

# What a file system must still take to be not full. One that is full may take a few blocks.
ENOUGH = 2**20
# The errors that say something of a file system. Not each one has files without a name.
_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Room(TypedDict):
    """What a file system can still take."""

    free: int
    inodes: int | None
    refuses: int


def look(directory: str) -> Room:
    """What the file system of a directory can still take.

    :raises OSError: it cannot be examined
    """
    found = os.statvfs(directory)
    free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    return {
        "free": free * found.f_frsize,
        "inodes": found.f_ffree if found.f_files else None,
        "refuses": errno.EROFS if found.f_flag & os.ST_RDONLY else _tried(directory),
    }


def _tried(directory: str) -> int:
    """The number of the error with which a file is refused; 0 if there is none."""
    try:
        # It has no name, and so never remains.
        file = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        return error.errno if error.errno in _REASONS else 0
    try:
        os.posix_fallocate(file, 0, ENOUGH)
    except OSError as error:
        return error.errno if error.errno in _REASONS else 0
    finally:
        os.close(file)
    return 0


def nearest(directory: str) -> str:
    """The directory, or its nearest parent that is one."""
    while not os.path.isdir(directory) and directory != os.path.dirname(directory):
        directory = os.path.dirname(directory)
    return directory


def main(*directories: str) -> None:
    """Print what each can still take."""
    print(json.dumps([look(nearest(each)) for each in directories]))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
