"""Flags, project ids and birth times of a mounted tree: collects them for a backup, and sets them.

See :mod:`volflow.disk.attributes` for what they are, and for the file that keeps them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from volflow.disk import attributes, attributing
from volflow.disk.filesystem import FileSystem
from volflow.host.namespace import MountNamespace

# The program must not depend on installed packages or on the environment.
_COLLECT = (sys.executable, "-I", "-S", attributes.__file__)
_SET = (sys.executable, "-I", "-S", attributing.__file__)
# Bytes of the file that keeps them, which is in memory while the backup is stored: for about two
# million files. On a small host less: a part of what is available.
_MOST, _PART = 64 * 2**20, 20
_FAMILIES = {"ext2": "ext", "ext3": "ext", "ext4": "ext", "xfs": "xfs"}


Value = TypeVar("Value")


@dataclass(frozen=True)
class Collected:
    """What was found in a tree.

    :ivar counts: how many files have flags, project ids and birth times that are in the file
    :ivar left_out: how many have birth times, and flags or a project id, for which it has no room
    :ivar encrypted: directories that fscrypt encrypts, by path in the tree; nothing is known of
        what is below them
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    encrypted: tuple[str, ...] = ()

    def visible(self, found: Mapping[str, Value]) -> dict[str, Value]:
        """What was found in the tree without what is encrypted.

        :param found: something by path in the tree
        """
        hidden = frozenset(self.encrypted)
        return {path: one for path, one in found.items() if not _is_below(path, hidden)}


@dataclass(frozen=True)
class Applied:
    """What could not be set.

    :ivar failed: for how many files
    :ivar troubles: why, by path in the tree, for some of them
    """

    failed: int = 0
    troubles: Mapping[str, str] = field(default_factory=dict)


def collect(
    namespace: MountNamespace, tree: Path, target: Path, file_system: FileSystem
) -> Collected:
    """Write the attributes of a mounted tree to a file in the namespace.

    :param target: in a directory that is made
    :raises HostError: the tree cannot be examined
    """
    family = _FAMILIES.get(file_system.type, "none")
    projects = family == "ext" and "project" in file_system.features
    namespace.run("mkdir", "-p", "-m", "0700", target.parent)
    arguments = (family, str(int(projects)), str(_limit()))
    found: dict[str, Any] = json.loads(namespace.run(*_COLLECT, tree, target, *arguments))
    return Collected(found["found"], found["left_out"], tuple(found["encrypted"]))


def receive(namespace: MountNamespace, directory: Path) -> None:
    """Prepare a directory of the namespace for the files of a backup, which can have any size."""
    options = f"size={attributes.MOST_BYTES},mode=0700,nosuid,nodev,noexec"
    namespace.run("mkdir", "-p", directory)
    namespace.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", directory)


def apply(
    namespace: MountNamespace,
    tree: Path,
    source: Path,
    roots: Collection[str] = (),
    *,
    only: bool = False,
    exact: bool = False,
) -> Applied:
    """Set the flags and project ids of a restored tree.

    It must be the last change of the tree: an immutable file cannot be changed any more.

    :param source: the file of the backup, in the namespace
    :param roots: what is at or below these paths in the tree stays as it is
    :param only: instead, nothing but this is changed
    :param exact: also take flags and project ids off files that had none
    :raises HostError: the file of the backup is damaged
    """
    order = json.dumps({"only": only, "roots": list(roots), "exact": exact})
    said = json.loads(namespace.run(*_SET, "apply", tree, source, stdin=order))
    return Applied(said["failed"], said["troubles"])


def lift(namespace: MountNamespace, tree: Path) -> None:
    """Take immutable and append-only off everything in a tree, so that it can be removed."""
    namespace.run(*_SET, "lift", tree)


def _is_below(path: str, roots: Collection[str]) -> bool:
    """Whether a path is one of some others, or below one."""
    while path and path not in roots:
        path = path.rpartition("/")[0]
    return path in roots


def _limit() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return min(_MOST, int(value.split()[0]) * 1024 // _PART)
    return _MOST
