"""What the tools of a file system print of it, line by line, and which lines may differ.

It uses no code of volflow, so that it finds what volflow does not see.
"""

from __future__ import annotations

import re
import subprocess

from tests.support.cloud import run

# What the tools print: each line by its name.
Facts = dict[str, str]

# What dumpe2fs prints of states, times, counters, and places that mke2fs chooses.
_EXT_CHANGES = re.compile(
    r"Filesystem (created|state)|Last (checked|mount time|write time)|Next check after|Mount count"
    r"|Lifetime writes|Free (blocks|inodes)|First orphan inode|Overhead (blocks|clusters)"
    r"|Checksum( seed)?|Journal (backup|checksum|checksum type|errno|features|sequence|start)"
    r"|(User|Group|Project) quota inode|Orphan file inode|MMP block number|mmp_.*"
    r"|FS Error.*|(First|Last) error.*"
)
_EXT_STATES = {"needs_recovery", "orphan_present"}
# dumpe2fs prints the features in one line, and volflow keeps them apart.
_EXT_TOLD = {
    "Filesystem features": (
        *("Compatible features", "Incompatible features", "Read-only compatible features"),
    ),
}
# What xfs_db prints of states, counters and places. mkfs.xfs sets no meta_uuid: that is where
# xfs_admin keeps the first UUID when it changes it.
_XFS_CHANGES = re.compile(
    r"superblock\.(crc|icount|ifree|fdblocks|frextents|inprogress|lsn|qflags|[ugp]quotino"
    r"|rootino|rbmino|rsumino|logstart|meta_uuid|bad_features2)"
)
# The bits of a changed UUID and of a needed repair, and those that the kernel sets with the first
# extended attribute and the first quota.
_XFS_STATES = {"superblock.features_incompat": 0x4 | 0x10, "superblock.versionnum": 0x10 | 0x40}
# Names of the same value in the superblock and in "info".
_XFS_TOLD = {
    "agblocks": ("meta-data.agsize",),
    "agblklog": ("meta-data.agsize",),
    "agcount": ("meta-data.agcount",),
    "dblocks": ("data.blocks",),
    "dirblklog": ("naming.bsize",),
    "imax_pct": ("data.imaxpct",),
    "logblocks": ("log.blocks",),
    "logsectlog": ("log.sectsz",),
    "logsectsize": ("log.sectsz",),
    "logsunit": ("log.sunit",),
    "rextsize": ("realtime.extsz",),
    "sectlog": ("meta-data.sectsz",),
    "sectsize": ("meta-data.sectsz",),
    "unit": ("data.sunit",),
    "width": ("data.swidth",),
}


def facts(kind: str, device: str) -> Facts:
    """What the tools of a file system print of it, without what changes by itself."""
    return _xfs(device) if kind == "xfs" else _ext(device)


def untold(before: Facts, after: Facts, told: set[str]) -> list[str]:
    """The differences that volflow has not told, one line each.

    :param told: the names of the differences that volflow has told
    """
    return [
        f"{name} was {before.get(name)!r} and is {after.get(name)!r}, which is not told"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and not _names(name) & told
    ]


def needless(before: Facts, after: Facts, told: set[str]) -> list[str]:
    """The differences that volflow has told although there are none, one line each."""
    equal = {name: before[name] for name in before if before[name] == after.get(name)}
    return [
        f"{name} is still {value!r}, but the result reports a difference"
        for name, value in sorted(equal.items())
        if told & {name, *_EXT_TOLD.get(name, ())}
    ]


def sound(kind: str, device: str) -> str:
    """What its checker complains of; empty if it is sound."""
    command = ("xfs_repair", "-n") if kind == "xfs" else ("e2fsck", "-f", "-n")
    done = subprocess.run([*command, device], capture_output=True, text=True, check=False)
    return f"{' '.join(command)}: {done.stdout} {done.stderr}" if done.returncode else ""


def _names(name: str) -> set[str]:
    more = _XFS_TOLD.get(name.removeprefix("superblock."), ())
    return {name, *_EXT_TOLD.get(name, ()), *more}


def _ext(device: str) -> Facts:
    found = {}
    for line in run("dumpe2fs", "-h", device).splitlines():
        name, _, value = line.partition(":")
        if not _EXT_CHANGES.fullmatch(name.strip()):
            found[name.strip()] = value.strip()
    features = found["Filesystem features"].split()
    found["Filesystem features"] = " ".join(one for one in features if one not in _EXT_STATES)
    return found


def _xfs(device: str) -> Facts:
    found, section = {}, ""
    for line in run("xfs_db", "-r", "-c", "info", device).splitlines():
        head, _, rest = line.partition("=")
        section = head.strip() or section
        rest = rest.removeprefix(device)
        for pair in re.split(r"[\s,]+(?=[\w-]+=)", f" {rest}"):
            name, _, value = pair.strip().partition("=")
            found[f"{section}.{name}" if value else section] = value.strip(" ,") or name
    for line in run("xfs_db", "-r", "-c", "sb 0", "-c", "print", device).splitlines():
        name, _, value = line.partition(" = ")
        if not _XFS_CHANGES.fullmatch(f"superblock.{name}"):
            found[f"superblock.{name}"] = value
    for name, states in _XFS_STATES.items():
        found[name] = hex(int(found[name], 16) & ~states)
    return found
