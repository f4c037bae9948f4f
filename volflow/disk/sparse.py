"""The sparse files of a mounted tree: finds them, and restores their holes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from volflow.disk import holes
from volflow.disk.holes import Sparse
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

# The program must not depend on installed packages or on the environment.
_HOLES = (sys.executable, "-I", "-S", holes.__file__)
# For every file: its 512-byte blocks on the disk, its size in bytes, its path in the tree. For a
# million files, GNU find takes less than half of Python's time. Its exit status is 1 if it could
# not examine some; nsenter's is too, if it could not start find.
_FIND = """find "$1" -xdev -type f -printf '%b %s %P\\0' || [ $? = 1 ]"""


def find(runs: Privilege | MountNamespace, tree: Path) -> dict[str, Sparse]:
    """Every sparse file of a tree, by path in it.

    Metadata shows which files are sparse. Only those are opened, and none is read. Files that
    cannot be opened are left out: the copy cannot read them either, and reports them.

    :raises HostError: the tree could not be searched
    """
    paths = []
    for record in runs.records("sh", "-c", _FIND, "sh", str(tree)):
        blocks, size, path = record.split(b" ", 2)
        if 512 * int(blocks) < int(size):
            paths.append(os.fsdecode(path))
    return looked(runs, tree, paths)


def looked(runs: Privilege | MountNamespace, tree: Path, paths: Sequence[str]) -> dict[str, Sparse]:
    """Those of some files that are sparse, by path in the tree.

    :param paths: files with fewer blocks than their size needs
    :raises HostError: the program that looks at them failed
    """
    if not paths:
        return {}
    out = runs.run(*_HOLES, "look", str(tree), stdin=json.dumps(paths))
    found: dict[str, Sparse] = json.loads(out)
    return found


def shape(runs: Privilege | MountNamespace, tree: Path, files: Mapping[str, Sparse]) -> None:
    """Give the files of a tree exactly the holes that are listed.

    The contents and times of the files do not change.

    :param files: the sparse files, by path in the tree; those that do not exist are ignored
    :raises HostError: a file could not be written to
    """
    runs.run(*_HOLES, "shape", str(tree), stdin=json.dumps([find(runs, tree), files]))
