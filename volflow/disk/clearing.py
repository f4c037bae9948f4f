"""Makes room on a volume for a restore over existing files.

A restore must not write through a link that a guest has left, and must not add to an existing file.
So everything is removed that the backup has too, except directories that are directories in the
backup: they keep what the backup does not have.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``clearing.py TREE`` reads from its standard input the paths of the backup, each
with a byte before it that says what it is (``d`` for a directory) and a zero byte after it, a
directory before its contents. ``clearing.py TREE extra`` removes everything else: what the backup
does not have. There ``s`` is a path that stays with everything below it.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW
# Belongs to the policy of this host, and cannot be removed.
_KEPT = "security.selinux"


def clear(tree: str, entries: Iterable[tuple[str, bool]]) -> None:
    """Make room for these paths of a tree.

    :param entries: each path, and whether it is a directory; an empty path is the tree itself
    :raises OSError: a path leads out of the tree, or something cannot be removed
    """
    with _Parents(tree) as parents:
        for path, directory in entries:
            if not path:
                _bare(os.open(tree, os.O_RDONLY | os.O_DIRECTORY))
                continue
            above, _, name = path.rpartition("/")
            parent = parents.open(above)
            if parent is None:
                continue
            _check(name)
            try:
                status = os.lstat(name, dir_fd=parent)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=parent)
            elif directory:
                _bare(os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent))
            else:
                shutil.rmtree(name, dir_fd=parent)


def remove_extra(tree: str, entries: Iterable[tuple[str, str]]) -> None:
    """Remove what is not among these paths of a tree.

    :param entries: each path, and what it is: ``d`` for a directory, ``s`` for a path that stays
        with everything below it, and ``f`` for anything else
    :raises OSError: something cannot be removed
    """
    known: dict[str, str] = {}
    for path, kind in entries:
        if known.get(path) != "s":
            known[path] = kind
    # Some file systems need it, and a new one gets it anew.
    known.setdefault("lost+found", "s")
    fd = os.open(tree, os.O_RDONLY | _DIRECTORY)
    try:
        _remove_extra(fd, "", known)
    finally:
        os.close(fd)


def _remove_extra(fd: int, above: str, known: dict[str, str]) -> None:
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, directory in entries:
        path = f"{above}{name}"
        kind = known.get(path)
        if kind is None:
            shutil.rmtree(name, dir_fd=fd) if directory else os.unlink(name, dir_fd=fd)
        elif kind == "d" and directory:
            below = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=fd)
            try:
                _remove_extra(below, f"{path}/", known)
            finally:
                os.close(below)


class _Parents:
    """The directories of a tree. The last one stays open, because its children come in a row."""

    def __init__(self, tree: str) -> None:
        self._tree = os.open(tree, os.O_PATH | os.O_DIRECTORY)
        self._path, self._fd = "", os.dup(self._tree)

    def __enter__(self) -> _Parents:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.close(self._tree)

    def open(self, path: str) -> int | None:
        """A directory of the tree, reached without links; None if it does not exist yet."""
        if path == self._path:
            return self._fd
        fd = os.dup(self._tree)
        for name in path.split("/") if path else ():
            _check(name)
            try:
                below = os.open(name, os.O_PATH | _DIRECTORY, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                os.close(fd)
            fd = below
        os.close(self._fd)
        self._path, self._fd = path, fd
        return fd


def _check(name: str) -> None:
    if name in ("", ".", ".."):
        raise OSError(f"'{name}' is not a name in the tree")


def _bare(fd: int) -> None:
    """Remove the attributes of a directory: it gets those of the backup."""
    try:
        for key in os.listxattr(fd):
            if key != _KEPT:
                os.removexattr(fd, key)
    finally:
        os.close(fd)


def _entries(text: bytes) -> Iterator[tuple[str, str]]:
    for entry in text.split(b"\0")[:-1]:
        yield os.fsdecode(entry[1:]), os.fsdecode(entry[:1])


if __name__ == "__main__":
    listed = _entries(sys.stdin.buffer.read())
    if sys.argv[2:] == ["extra"]:
        remove_extra(sys.argv[1], listed)
    else:
        clear(sys.argv[1], ((path, kind == "d") for path, kind in listed))
