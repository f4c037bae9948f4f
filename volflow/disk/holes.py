"""The holes in the files of a tree: found before a backup, made again after a restore.

restic stores a hole as zeros and restores it as written zeros (or, from 0.15 on when asked, turns
runs of zeros into holes, also those that were written, as in a swap file). Which ranges held data
is kept beside the data, so that a file comes back with the holes that it had, no more and no less.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library, for :mod:`volflow.disk.sparse`:  ``holes.py look TREE`` reads the paths of files
as a JSON list and prints ``{path: {"size": bytes, "data": [[offset, length], ...]}}`` of each
sparse one;  ``holes.py shape TREE`` reads two such objects in a list: what there is, and what there
is to be.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypedDict

Ranges = list[list[int]]


class Sparse(TypedDict):
    """A sparse file: its size in bytes, and where in it there is data (offset, length)."""

    size: int
    data: Ranges


# fallocate(2): make a hole, and leave the file's size as it is.
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_LIBC = ctypes.CDLL(None, use_errno=True)
_ZEROS = bytes(2**20)
_CAPABILITY = "security.capability"
# No file system that is restored has larger blocks; there is nothing to lose past a file's end.
_PAST_THE_END = 64 * 1024


def look(tree: str, paths: Iterable[str]) -> dict[str, Sparse]:
    """Those of the files that are sparse, by path in the tree. None is read.

    What cannot be looked at is left out: the copy that follows cannot read it either, and tells.
    """
    found: dict[str, Sparse] = {}
    for path in paths:
        try:
            size, ranges = _data(os.path.join(tree, path))
        except OSError as error:
            print(f"{path}: {error}", file=sys.stderr)
        else:
            # Small files can live in the inode: no blocks, but no hole either.
            if sum(length for _, length in ranges) < size:
                found[path] = {"size": size, "data": ranges}
    return found


def shape(tree: str, now: dict[str, Sparse], files: dict[str, Sparse]) -> None:
    """Give every file the holes that are listed, and no others.

    The contents and times of the files stay as they are, and so do their capabilities, which the
    kernel takes from a file that is written to.

    :param now: the sparse files that there are
    :param files: those that there are to be
    """
    for path, sparse in now.items():
        data = files[path]["data"] if path in files else [[0, sparse["size"]]]
        with _opened(tree, path) as fd:
            for start, end in _without(data, sparse["data"]):
                _write_zeros(fd, start, end)
    for path, sparse in files.items():
        # What could not be read at the backup is not there now.
        with suppress(FileNotFoundError), _opened(tree, path) as fd:
            # A punch that ends inside a block only zeroes it: the last one goes past the end.
            end = os.fstat(fd).st_size + _PAST_THE_END
            for start, stop in _without([[0, end]], sparse["data"]):
                _punch(fd, start, stop - start)


@contextmanager
def _opened(tree: str, path: str) -> Iterator[int]:
    """A file of the tree.

    What is listed comes from a repository, whose owner need not be trusted with this host: no path
    leads out of the tree, by its name or by a symbolic link.

    :raises OSError: it leads out of the tree, or is not there
    """
    *directories, name = path.split("/")
    if {"", ".", ".."} & {*directories, name}:
        raise OSError(errno.EPERM, "not a path in the tree", path)
    parent = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    try:
        for directory in directories:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            below = os.open(directory, flags, dir_fd=parent)
            os.close(parent)
            parent = below
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        status = os.fstat(fd)
        capability = os.getxattr(fd, _CAPABILITY) if _CAPABILITY in os.listxattr(fd) else None
        yield fd
        if capability is not None:
            os.setxattr(fd, _CAPABILITY, capability)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(fd)


def _without(wanted: Ranges, others: Ranges) -> Iterator[tuple[int, int]]:
    """What of some ranges is in no other range (start, end); both are in order."""
    for start, length in wanted:
        position, end = start, start + length
        for offset, size in others:
            if position < offset < end:
                yield position, offset
            position = max(position, offset + size) if offset < end else position
        if position < end:
            yield position, end


def _write_zeros(fd: int, start: int, end: int) -> None:
    while start < end:
        start += os.pwrite(fd, _ZEROS[: end - start], start)


def _punch(fd: int, start: int, length: int) -> None:
    offsets = (ctypes.c_longlong(start), ctypes.c_longlong(length))
    if _LIBC.fallocate(fd, _PUNCH_HOLE_KEEP_SIZE, *offsets):
        error = ctypes.get_errno()
        raise OSError(error, f"a hole cannot be made: {os.strerror(error)}")


def _data(path: str) -> tuple[int, Ranges]:
    """A file's size, and where in it there is data."""
    ranges: Ranges = []
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        size, position = os.fstat(fd).st_size, 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole up to the end
                break
            position = os.lseek(fd, start, os.SEEK_HOLE)
            ranges.append([start, position - start])
    finally:
        os.close(fd)
    return size, ranges


def main() -> None:
    verb, tree = sys.argv[1:]
    given = json.load(sys.stdin)
    if verb == "look":
        json.dump(look(tree, given), sys.stdout)
    else:
        shape(tree, *given)


if __name__ == "__main__":
    main()
