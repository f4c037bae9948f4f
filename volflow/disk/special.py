"""What restic does not store of a mounted tree: its sockets."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from volflow.disk import sockets
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

# The program must not depend on installed packages or on the environment.
_SOCKETS = (sys.executable, "-I", "-S", sockets.__file__)
_FIND = """find "$1" -xdev -type s -printf '%P\\0' || [ $? = 1 ]"""

#: The numbers that describe a socket.
NUMBERS = 5
#: Of a socket: its mode, user and group, and its atime and mtime in nanoseconds since the epoch.
Sockets = dict[str, list[int]]


def find_sockets(runs: Privilege | MountNamespace, tree: Path) -> Sockets:
    """Every socket of a tree, by path in it.

    :raises HostError: the tree could not be searched
    """
    found = runs.records("sh", "-c", _FIND, "sh", str(tree))
    paths = [os.fsdecode(record) for record in found]
    if not paths:
        return {}
    known: Sockets = json.loads(runs.run(*_SOCKETS, "look", str(tree), stdin=json.dumps(paths)))
    return known


def make_sockets(
    runs: Privilege | MountNamespace, tree: Path, wanted: Mapping[str, list[int]]
) -> None:
    """Make the sockets of a tree again; what exists at a path stays.

    :raises HostError: a socket could not be made
    """
    if wanted:
        runs.run(*_SOCKETS, "make", str(tree), stdin=json.dumps(dict(wanted)))
