"""Tells which paths of a tree are directories, also if they cannot be read.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``directories.py TREE`` reads from its standard input paths of the tree, each
with a zero byte after it, and prints those that are directories as a JSON list. The file system
keeps the type of a file beside its name: it is known even if the inode is damaged.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Iterable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def directories(tree: str, paths: Iterable[str]) -> list[str]:
    """Those of these paths that are directories; an empty path is the tree itself.

    Nothing is said of a path that cannot be reached.
    """
    found: list[str] = []
    above: str | None = None
    names: set[str] = set()
    for path in sorted(paths):
        parent, _, name = path.rpartition("/")
        if not path:
            found.append(path)
            continue
        if parent != above:
            above, names = parent, _directories_in(tree, parent)
        if name in names:
            found.append(path)
    return found


def _directories_in(tree: str, path: str) -> set[str]:
    """The names of the directories in a directory; empty if it cannot be read."""
    try:
        fd = os.open(tree, _DIRECTORY)
        try:
            for name in path.split("/") if path else ():
                below = os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            with os.scandir(fd) as entries:
                return {one.name for one in entries if _is_directory(one)}
        finally:
            os.close(fd)
    except OSError:
        # It is reported as unreadable itself.
        return set()


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def main(tree: str) -> None:
    """Print which of the paths on the standard input are directories."""
    paths = [os.fsdecode(one) for one in sys.stdin.buffer.read().split(b"\0")[:-1]]
    print(json.dumps(directories(tree, paths)))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
