"""The room that the files of a backup need, and that a new file system has for them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from volflow.errors import DiskError
from volflow.host.namespace import MountNamespace

_GIB = 1024**3
# What a file system needs for itself: a part of its size, and a journal.
_MARGIN, _OVERHEAD = 1.05, 64 * 1024**2


@dataclass(frozen=True)
class Used:
    """What is in use of a file system; all are 0 if it is not known.

    :ivar bytes: of its blocks, by statfs(2)
    :ivar inodes: of those whose number is fixed when it is created; 0 if none is fixed
    :ivar in_files: bytes of the blocks of all files. That can be more than all blocks, because
        files can share blocks, and a restore does not share them again
    """

    bytes: int = 0
    inodes: int = 0
    in_files: int = 0


@dataclass(frozen=True)
class _Capacity:
    """The bytes and inodes of a mounted file system, and how many of them are in use."""

    bytes: int
    used: int
    inodes: int
    inodes_used: int

    @classmethod
    def of(cls, namespace: MountNamespace, place: Path) -> _Capacity:
        found = namespace.run("stat", "--file-system", "--format=%S %b %f %c %d", place).split()
        block, blocks, free, inodes, inodes_free = map(int, found)
        return cls(block * blocks, block * (blocks - free), inodes, inodes - inodes_free)


def used(namespace: MountNamespace, place: Path, in_files: int, *, fixed_inodes: bool) -> Used:
    """What is in use of a mounted file system.

    :param in_files: bytes of the blocks of all files
    :param fixed_inodes: whether its number of inodes is fixed when it is created
    """
    now = _Capacity.of(namespace, place)
    return Used(now.used, now.inodes_used if fixed_inodes else 0, in_files)


def require(needed: Used, namespace: MountNamespace, place: Path) -> None:
    """Refuse to copy files into a mounted file system that they do not fit into.

    :param needed: what they used at the backup
    :param place: where the new and empty file system is mounted
    :raises DiskError: they do not fit; says what size would do
    """
    now = _Capacity.of(namespace, place)
    # The new file system needs some blocks for itself.
    need = max(needed.bytes, needed.in_files + now.used if needed.in_files else 0)
    lacks, enough = [], need * _MARGIN
    if need > now.bytes:
        lacks.append(f"{_mib(need)}, and the new file system has {_mib(now.bytes)}")
        if needed.in_files > needed.bytes:
            lacks.append("files that shared blocks do not share them after a restore")
    if needed.inodes > now.inodes:
        lacks.append(f"{needed.inodes:,} inodes, and the new file system has {now.inodes:,}")
        enough = max(enough, now.bytes * needed.inodes / max(1, now.inodes) * _MARGIN)
    if lacks:
        gib = math.ceil((enough + _OVERHEAD) / _GIB)
        raise DiskError(
            f"The files of the backup need {'; '.join(lacks)}. A volume of {gib} GiB would do: "
            "restore into one with --into and --grow. --to-path extracts the files to a directory."
        )


def require_beside(needed: Used, namespace: MountNamespace, place: Path) -> None:
    """Refuse to copy files beside those on a file system if they do not fit.

    :param needed: what they used at the backup
    :param place: where the file system is mounted, without the files that they replace
    :raises DiskError: they do not fit
    """
    now = _Capacity.of(namespace, place)
    free = now.bytes - now.used
    if needed.in_files <= free:
        return
    # The directories of the backup may exist already.
    listed = namespace.run("find", place, "-xdev", "-type", "d", "-printf", "%b\\n").split()
    need = needed.in_files - 512 * sum(map(int, listed))
    if need > free:
        raise DiskError(
            f"The files of the backup need {_mib(need)}, and the volume has {_mib(free)} free "
            "beside the files that it keeps. Restore without --keep-extra, or to a new volume "
            "with --new."
        )


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"
