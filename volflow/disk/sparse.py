"""The sparse files of a mounted tree: which there are, and how they get their holes again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from volflow.disk import holes
from volflow.disk.holes import Sparse
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

# What is run must not depend on what is installed or set here.
_HOLES = (sys.executable, "-I", "-S", holes.__file__)
# Of every file: its 512-byte blocks on the disk, its size in bytes, its path in the tree. GNU find
# looks at a million files in less than half of Python's time. With 1 it tells that it could not
# look at some, and so does nsenter that it could not begin.
_FIND = """find "$1" -xdev -type f -printf '%b %s %P\\0' || [ $? = 1 ]"""


def find(runs: Privilege | MountNamespace, tree: Path) -> dict[str, Sparse]:
    """Every sparse file of a tree, by path in it.

    Files are told by their metadata; only sparse ones are opened, and none is read. What cannot
    be looked at is left out: the copy that follows cannot read it either, and tells.

    :raises HostError: nothing could be looked at
    """
    paths = []
    for record in runs.records("sh", "-c", _FIND, "sh", str(tree)):
        blocks, size, path = record.split(b" ", 2)
        if 512 * int(blocks) < int(size):
            paths.append(os.fsdecode(path))
    if not paths:
        return {}
    out = runs.run(*_HOLES, "look", str(tree), stdin=json.dumps(paths))
    found: dict[str, Sparse] = json.loads(out)
    return found


def shape(runs: Privilege | MountNamespace, tree: Path, files: Mapping[str, Sparse]) -> None:
    """Give every file of a tree the holes that are listed, and no others.

    The contents and times of the files stay as they are.

    :param files: the sparse files that there are to be; those that are not there do not matter
    :raises HostError: a file could not be written to
    """
    runs.run(*_HOLES, "shape", str(tree), stdin=json.dumps([find(runs, tree), files]))
