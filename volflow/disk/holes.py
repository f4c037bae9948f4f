"""The holes in the files of a tree: finds them before a backup, restores them after a restore.

restic stores a hole as zeros and restores it as written zeros. From 0.15 on it can turn runs of
zeros into holes, but also those that were written, as in a swap file. So the manifest keeps which
ranges held data, and a restored file gets exactly the holes that it had.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library, for :mod:`volflow.disk.sparse`:  ``holes.py look TREE`` reads the paths of files
as a JSON list and prints ``{path: {"size": bytes, "data": [[offset, length], ...]}}`` of each
sparse one;  ``holes.py shape TREE`` reads two such objects in a list: the present and the wanted
sparse files.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import runpy
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TypedDict

Ranges = list[list[int]]


class Sparse(TypedDict):
    """A sparse file: its size in bytes, and the ranges that hold data (offset, length)."""

    size: int
    data: Ranges


# fallocate(2): punch a hole, and keep the size of the file.
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_LIBC = ctypes.CDLL(None, use_errno=True)
_ZEROS = bytes(2**20)
_CAPABILITY = "security.capability"
# No supported file system has larger blocks. Nothing is lost past the end of a file.
_PAST_THE_END = 64 * 1024


def look(tree: str, paths: Iterable[str]) -> dict[str, Sparse]:
    """Find the sparse ones among these files, by path in the tree. None is read.

    Files that cannot be opened are left out: the copy cannot read them either, and reports them.
    """
    found: dict[str, Sparse] = {}
    for path in paths:
        try:
            size, ranges = _data(_open(tree, path, os.O_RDONLY))
        except OSError as error:
            print(f"{ascii(path)[1:-1]}: {error.strerror}", file=sys.stderr)
        else:
            # Small files can live in the inode: no blocks, but no hole either.
            if sum(length for _, length in ranges) < size:
                found[path] = {"size": size, "data": ranges}
    return found


def shape(tree: str, now: dict[str, Sparse], files: dict[str, Sparse]) -> None:
    """Give every file exactly the holes that are listed.

    The contents and times of the files do not change. Neither do their capabilities, which the
    kernel removes from a file when it is written to.

    :param now: the present sparse files
    :param files: the wanted ones
    """
    for path, sparse in now.items():
        if files.get(path) == sparse:
            # A file that stays as it is may be immutable.
            continue
        data = files[path]["data"] if path in files else [[0, sparse["size"]]]
        with _named(path), _opened(tree, path) as fd:
            for start, end in _without(data, sparse["data"]):
                _write_zeros(fd, start, end)
    for path, sparse in files.items():
        if now.get(path) == sparse:
            continue
        # Files that could not be read at the backup do not exist now.
        with _named(path), suppress(FileNotFoundError), _opened(tree, path) as fd:
            # A hole that ends inside a block only zeroes it: the last one goes past the end.
            end = os.fstat(fd).st_size + _PAST_THE_END
            for start, stop in _without([[0, end]], sparse["data"]):
                _punch(fd, start, stop - start)


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let an error name this path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, reason, path) from error


def _open(tree: str, path: str, flags: int) -> int:
    """Open a file of the tree.

    The list comes from a repository, whose owner may not be trusted on this host: no path may lead
    out of the tree, by its name or by a symbolic link.

    :raises OSError: the path leads out of the tree, or does not exist
    """
    *directories, name = path.split("/")
    if {"", ".", ".."} & {*directories, name}:
        raise OSError(errno.EPERM, "not a path in the tree", path)
    parent = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    try:
        for directory in directories:
            way = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            below = os.open(directory, way, dir_fd=parent)
            os.close(parent)
            parent = below
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=parent)
    finally:
        os.close(parent)


@contextmanager
def _opened(tree: str, path: str) -> Iterator[int]:
    """A file of the tree, to write to. Its times and capabilities stay as they are.

    :raises OSError: the path leads out of the tree, or does not exist
    """
    fd = _open(tree, path, os.O_WRONLY)
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
    """The parts of some ranges that are in no other range (start, end); both are sorted.

    A file can have hundreds of thousands of ranges: each is looked at a few times only.
    """
    first = 0
    for start, length in wanted:
        position, end = start, start + length
        # The ranges in either list do not overlap: those that end here matter no more.
        while first < len(others) and sum(others[first]) <= start:
            first += 1
        for index in range(first, len(others)):
            offset, size = others[index]
            if offset >= end:
                break
            if position < offset:
                yield position, offset
            position = max(position, offset + size)
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


def _data(fd: int) -> tuple[int, Ranges]:
    """The size of an open file, which is closed, and the ranges that hold data."""
    ranges: Ranges = []
    try:
        size, position = os.fstat(fd).st_size, 0
        while position < size:
            try:
                start = os.lseek(fd, position, os.SEEK_DATA)
            except OSError:  # ENXIO: a hole up to the end
                break
            position = os.lseek(fd, start, os.SEEK_HOLE)
            ranges.append([start, position - start])
    finally:
        os.close(fd)
    return size, ranges


def main(verb: str, tree: str) -> None:
    """Look, or shape."""
    given = json.load(sys.stdin)
    if verb == "look":
        json.dump(look(tree, given), sys.stdout)
    else:
        shape(tree, *given)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
