"""The sockets of a tree: found before a backup, made again after a restore.

restic stores no sockets. The manifest keeps their paths, owners, modes and times.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library, for :mod:`volflow.disk.special`:  ``sockets.py look TREE`` reads the paths of
sockets as a JSON list and prints ``{path: [mode, user, group, atime, mtime]}``, with times in
nanoseconds since the epoch;  ``sockets.py make TREE`` reads such an object and makes those sockets
of which nothing exists at the path.
"""

from __future__ import annotations

import errno
import json
import os
import runpy
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW


def look(tree: str, paths: Iterable[str]) -> dict[str, list[int]]:
    """What these sockets are like, by path in the tree.

    What is none, or cannot be examined, is left out.
    """
    found: dict[str, list[int]] = {}
    for path in paths:
        try:
            with _parent(tree, path) as parent:
                if parent is None:
                    continue
                status = os.lstat(os.path.basename(path), dir_fd=parent)
        except OSError as error:
            print(f"{ascii(path)[1:-1]}: {error.strerror}", file=sys.stderr)
        else:
            if stat.S_ISSOCK(status.st_mode):
                mode = stat.S_IMODE(status.st_mode)
                times = status.st_atime_ns, status.st_mtime_ns
                found[path] = [mode, status.st_uid, status.st_gid, *times]
    return found


def make(tree: str, sockets: Mapping[str, list[int]]) -> None:
    """Make these sockets, without a change of the times of their directories.

    Nothing is made in a directory that does not exist, or where something exists already.

    :raises OSError: a path leads out of the tree, or a socket cannot be made; it names the path
    """
    for path, (mode, user, group, accessed, modified) in sockets.items():
        with _named(path), _parent(tree, path) as parent:
            if parent is None:
                continue
            name = os.path.basename(path)
            above = os.fstat(parent)
            try:
                # Nobody may connect before it has its owner.
                os.mknod(name, stat.S_IFSOCK, dir_fd=parent)
            except FileExistsError:
                continue
            os.chown(name, user, group, dir_fd=parent, follow_symlinks=False)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=parent)
            os.utime(name, ns=(accessed, modified), dir_fd=parent, follow_symlinks=False)
            os.utime(parent, ns=(above.st_atime_ns, above.st_mtime_ns))


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Let an error name this path."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, reason, path) from error


@contextmanager
def _parent(tree: str, path: str) -> Iterator[int | None]:
    """The directory of a path, reached without links; None if it does not exist.

    The list comes from a repository, whose owner may not be trusted on this host.

    :raises OSError: the path leads out of the tree
    """
    names = path.split("/")
    if {"", ".", ".."} & {*names}:
        raise OSError(errno.EPERM, "not a path in the tree", path)
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names[:-1]:
            try:
                below = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                yield None
                return
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def main(verb: str, tree: str) -> None:
    """Look, or make."""
    given = json.load(sys.stdin)
    if verb == "look":
        json.dump(look(tree, given), sys.stdout)
    else:
        make(tree, given)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
