"""Chooses which existing files stay in a restore over existing files.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``choosing.py TREE if-newer|never`` reads from its standard input the paths of
the backup, a directory before its contents, each as :func:`entry` writes it. It prints a
:class:`Choice` as JSON. It changes nothing.
"""

from __future__ import annotations

import errno
import json
import os
import runpy
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, TypedDict

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW
# What becomes of a path of the backup, and so of those below it.
_MERGED, _KEPT, _RESTORED = "merged", "kept", "restored"
_CHUNK = 2**20


class Choice(TypedDict):
    """Which paths of a backup are restored. A path stands for itself and everything below it.

    :ivar kept: what exists here stays
    :ivar restored: what is missing here, or is replaced
    :ivar files: the number of existing files that stay, although the backup has them too
    """

    kept: list[str]
    restored: list[str]
    files: int


def entry(path: str, *, directory: bool, modified: int) -> str:
    """A path of the backup, for the standard input.

    :param modified: microseconds since the epoch
    """
    return f"{'d' if directory else 'f'}{modified} {path}\0"


def choose(tree: str, entries: Iterable[tuple[str, bool, int]], *, newer: bool) -> Choice:
    """Choose what stays.

    :param entries: each path of the backup, whether it is a directory, and when it was modified
    :param newer: of the existing files, keep only those that were modified later; else keep all
    """
    found: Choice = {"kept": [], "restored": [], "files": 0}
    merged = {"": _Directory()}
    # Directories of the backup below a path that is kept or restored as a whole.
    below: dict[str, str] = {}
    root = os.open(tree, os.O_PATH | os.O_DIRECTORY)
    try:
        for path, directory, modified in entries:
            above = path.rpartition("/")[0]
            if not path:
                continue
            if above in below:
                fate = below[above]
            else:
                try:
                    fate = _fate(root, path, directory, modified, newer=newer)
                except OSError as error:
                    reason = error.strerror or str(error)
                    where = error.filename if isinstance(error, _NamedError) else path
                    raise OSError(error.errno or errno.EIO, reason, where) from error
                if fate == _RESTORED:
                    found["restored"].append(path)
                    merged[above].whole = False
                elif fate == _KEPT:
                    merged[above].kept.append(path)
                else:
                    merged[path] = _Directory()
            if fate != _MERGED and directory:
                below[path] = fate
            if fate == _KEPT and not directory:
                found["files"] += 1
    finally:
        os.close(root)
    found["kept"] = _summed_up(merged)
    return found


class _NamedError(OSError):
    """An error that names the whole path in the tree."""


class _Directory:
    """A directory that exists in the backup and here."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.whole = True


def _summed_up(merged: dict[str, _Directory]) -> list[str]:
    """What is kept. A directory of which everything is kept stands for its contents."""
    kept: list[str] = []
    # Contents come after their directory.
    for path, directory in reversed(merged.items()):
        if path and directory.whole and directory.kept:
            merged[path.rpartition("/")[0]].kept.append(path)
            continue
        if path:
            merged[path.rpartition("/")[0]].whole = False
        kept += directory.kept
    return sorted(kept)


def _fate(root: int, path: str, directory: bool, modified: int, *, newer: bool) -> str:
    parent = _open(root, path.rpartition("/")[0])
    try:
        name = path.rpartition("/")[2]
        try:
            status = os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            return _RESTORED
        here = stat.S_ISDIR(status.st_mode)
        if here and directory:
            return _MERGED
        if not newer:
            return _KEPT
        # A directory in the place of a file counts as its newest content.
        last = _newest(parent, name, path, status.st_mtime_ns) if here else status.st_mtime_ns
        return _KEPT if last // 1000 > modified else _RESTORED
    finally:
        os.close(parent)


def _open(root: int, path: str) -> int:
    """A directory of the tree, reached without links."""
    fd = os.dup(root)
    for name in path.split("/") if path else ():
        if name in ("", ".", ".."):
            raise OSError(f"'{name}' is not a name in the tree")
        try:
            below = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _newest(parent: int, name: str, path: str, last: int) -> int:
    """The latest modification in a directory, in nanoseconds since the epoch.

    :param path: its path in the tree
    :raises OSError: something in it cannot be examined; it names the path
    """
    top = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=parent)
    try:
        # However deep the tree is, one directory is open at a time.
        pending = [""]
        while pending:
            above = pending.pop()
            try:
                fd = _open(top, above)
                try:
                    listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
                finally:
                    os.close(fd)
                try:
                    for each in os.listdir(listed):
                        status = os.lstat(each, dir_fd=listed)
                        last = max(last, status.st_mtime_ns)
                        if stat.S_ISDIR(status.st_mode):
                            pending.append(f"{above}/{each}" if above else each)
                finally:
                    os.close(listed)
            except OSError as error:
                where = f"{path}/{above}" if above else path
                raise _NamedError(error.errno, error.strerror, where) from error
    finally:
        os.close(top)
    return last


def _entries(stdin: BinaryIO) -> Iterator[tuple[str, bool, int]]:
    rest = b""
    while chunk := stdin.read(_CHUNK):
        *records, rest = (rest + chunk).split(b"\0")
        for record in records:
            modified, _, path = record[1:].partition(b" ")
            yield os.fsdecode(path), record[:1] == b"d", int(modified)


def main(tree: str, when: str) -> None:
    """Choose, and print the choice."""
    stdin: Any = sys.stdin.buffer
    print(json.dumps(choose(tree, _entries(stdin), newer=when == "if-newer")))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
