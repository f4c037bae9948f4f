"""Decides which file system is on a device.

blkid looks for the marks of every format, wherever they are. Most are not at the beginning: the
content of a file can look like one, and a guest can write such a file. So where blkid sees more
than one file system, or another format, the superblock decides: if it is sound and covers what it
says, what lies behind it is data. A mark before its end was not written by a file: there volflow
does not choose.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from volflow.disk import mounting, superblocks
from volflow.disk.superblocks import Partition, Superblock
from volflow.errors import DiskError
from volflow.host.privilege import Privilege
from volflow.printable import printable

# What is said of a format that always is an image.
NOT_SUPPORTED = "which is none of the file systems that volflow mounts"
# What is said of a device on which there is nothing to recognise.
NOT_KNOWN = "The volume has no known file system"
# The types that volflow supports, by the family of their superblock.
_FAMILIES = {"ext": ("ext2", "ext3", "ext4"), "xfs": ("xfs",)}
SUPPORTED = tuple(name for names in _FAMILIES.values() for name in names)
_REPAIRS = {"ext": "e2fsck -f", "xfs": "xfs_repair"}
_SUPERBLOCKS = (sys.executable, "-I", "-S", superblocks.__file__)
# The name of ext4 with the flag of its first years: "test_filesystem".
_DEV = "ext4dev"
# The exit status of blkid: nothing found; several file systems.
_NOTHING, _SEVERAL = 2, 8
# Both formats write their superblock here, and leave that of an earlier file system, which has
# tables here: no file is here.
_BEHIND, _BEHIND_END = ("linux_raid_member", "bcache"), 8192
# Types of partition tables that can be beside another format.
_TABLES = ("dos", "gpt", "PMBR")
# Marks that a message names.
_NAMED = 8


@dataclass(frozen=True)
class Signature:
    """What is on a device.

    :ivar type: of the file system, as in mount(8)
    :ivar uuid: as blkid prints it; empty if it has none
    :ivar label: of the file system
    :ivar decided: why it is this file system where blkid sees others too, for a remark
    :ivar errors: what to do about the errors that a kernel has found in it, for a remark
    """

    type: str
    uuid: str
    label: str
    decided: str = ""
    errors: str = ""


@dataclass(frozen=True)
class Content:
    """What blkid sees in a device or a part of one, whether or not volflow can read it.

    :ivar type: as blkid names it, such as ``swap`` or ``ntfs``; empty if it knows none, or several
    :ivar uuid: as blkid prints it; empty if it has none
    """

    type: str
    uuid: str
    label: str


@dataclass(frozen=True)
class _Mark:
    offset: int
    type: str

    def __str__(self) -> str:
        return f"{printable(self.type)} at offset {self.offset}"


def identify(privilege: Privilege, device: str) -> Signature:
    """Which file system fills a device.

    :raises DiskError: it has none, several, an unknown one, a damaged one, one that needs other
        devices, or a partition table
    """
    verdict, status = _blkid(privilege, device)
    found, partitions = _read(privilege, device)
    if status == 0 and _type(verdict) in SUPPORTED and "PTTYPE" not in verdict:
        chosen = _of(found, _type(verdict))
        decided = ""
    else:
        chosen, decided = _choose(_marks(privilege, device), verdict, found, partitions)
    tags = _tags(privilege, device, chosen.family)
    kind = _type(tags)
    if kind not in SUPPORTED:
        raise DiskError(f"blkid does not recognise the {chosen.family} on the volume.")
    _require_whole(kind, chosen)
    errors = (
        f"the kernel of a guest has found errors in the {kind}, which may be damaged: run "
        f"'{_REPAIRS[chosen.family]}' in the guest"
    )
    return Signature(
        type=kind,
        uuid=tags.get("UUID", ""),
        label=_label(privilege, device, kind),
        decided=decided,
        errors=errors if chosen.errors else "",
    )


def content(privilege: Privilege, device: str) -> Content:
    """What blkid sees, for people and for a manifest. Odd content is no error.

    :raises DiskError: the device could not be read
    """
    verdict, status = _blkid(privilege, device)
    if status != _NOTHING and _type(verdict) not in SUPPORTED:
        try:
            # What blkid sees can be the content of a file in a sound file system.
            found = identify(privilege, device)
        except DiskError:
            pass
        else:
            return Content(found.type, found.uuid, printable(found.label))
    if "TYPE" not in verdict:
        return Content("", "", "")
    # blkid escapes everything but plain ASCII, unless it prints only one value.
    only = ("--output", "value", "--match-tag", "LABEL")
    label = privilege.attempt("blkid", "--probe", *only, device).stdout.removesuffix("\n")
    return Content(_type(verdict), verdict.get("UUID", ""), printable(label))


def describe(privilege: Privilege, device: str) -> tuple[str, str]:
    """What is on a device, for people, and its UUID; both are empty if it is blank.

    :raises DiskError: the device could not be read
    """
    verdict, status = _blkid(privilege, device)
    if status != _SEVERAL and not verdict.keys() - {"DEVNAME"}:
        return "", ""
    if status == _SEVERAL or _type(verdict) not in SUPPORTED or "PTTYPE" in verdict:
        marks = _marks(privilege, device)
        try:
            chosen, _ = _choose(marks, verdict, *_read(privilege, device))
        except DiskError:
            if len(marks) > 1:
                return f"signatures of several formats: {_listed(marks)}", ""
        else:
            verdict = _tags(privilege, device, chosen.family)
    uuid = verdict.get("UUID", "")
    if "TYPE" in verdict:
        label = f" '{verdict['LABEL']}'" if verdict.get("LABEL") else ""
        return f"{verdict['TYPE']}{label}{f' with the UUID {uuid}' if uuid else ''}", uuid
    if "PTTYPE" in verdict:
        return f"a partition table ({verdict['PTTYPE']})", ""
    return "something that blkid recognises", ""


def table(privilege: Privilege, device: str) -> bool:
    """Whether a partition table says what is on a device, and nothing speaks against it.

    :raises DiskError: why the table does not say it, although there is one, in a clause
    """
    verdict, status = _blkid(privilege, device)
    if status != _SEVERAL and "PTTYPE" not in verdict:
        return False
    try:
        identify(privilege, device)
    except DiskError:
        marks = _marks(privilege, device)
    else:
        return False
    tables = [mark for mark in marks if mark.type in _TABLES]
    others = [mark for mark in marks if mark not in tables]
    if status == _SEVERAL and not tables:
        return False
    if "TYPE" in verdict and verdict.get("PTTYPE") == "dos" and not _read(privilege, device)[1]:
        # A boot sector, such as that of exFAT, ends as a table does.
        return False
    if status == _SEVERAL or "TYPE" in verdict:
        raise DiskError(
            f"it has a partition table, and also {_listed(others)}: it cannot be told which of "
            "them is used"
        )
    return True


def _choose(
    marks: Sequence[_Mark],
    verdict: dict[str, str],
    found: Sequence[Superblock],
    partitions: Sequence[Partition],
) -> tuple[Superblock, str]:
    """The one file system that all other marks lie in, and what was decided.

    :raises DiskError: there is none, or it cannot be said
    """
    sound = [each for each in found if not each.damage and not each.doubt]
    if len(sound) > 1:
        both = " and ".join(f"an {_named(each, marks)}, with sound superblocks" for each in sound)
        raise DiskError(f"The volume has several file systems: {both}. {_ADVICE}")
    if not sound:
        raise DiskError(_unknown(marks, verdict, found))
    (chosen,) = sound
    others = [mark for mark in marks if mark.offset != chosen.mark]
    tables = [mark for mark in others if mark.offset == 510 and not partitions]
    data = [mark for mark in others if _may_be_data(mark, chosen)]
    foreign = [mark for mark in others if mark not in tables and mark not in data]
    if foreign:
        where = [f"partition {each.number} at offset {each.start}" for each in partitions]
        if where and any(mark.offset == 510 for mark in foreign):
            raise DiskError(
                f"The volume has a partition table ({_listed(foreign)}: {', '.join(where)}), and "
                f"also an {_named(chosen, marks)}, which covers the partitions. {_ADVICE}"
            )
        raise DiskError(
            f"The volume has an {_named(chosen, marks)}, and also {_listed(foreign)}, which is "
            f"not within its data. {_ADVICE}"
        )
    decided = []
    if data:
        decided.append(
            f"the volume has an {_named(chosen, marks)}, whose superblock is sound; within its "
            f"data is what looks like {_listed(data)}: volflow ignored it"
        )
    if tables:
        decided.append(
            f"the boot sector of the {_marked(chosen, marks)} has a partition table "
            f"({_listed(tables)}) without partitions: volflow ignored it"
        )
    return chosen, "; ".join(decided)


def _may_be_data(mark: _Mark, chosen: Superblock) -> bool:
    """Whether a mark lies where the content of a file can be, or what is left of other formats."""
    if mark.type in _BEHIND and mark.offset < _BEHIND_END:
        return False
    return chosen.end <= mark.offset < chosen.size


_ADVICE = (
    "volflow does not choose between them. In the guest, make sure which of them is used, and "
    "remove the mark of the other: 'wipefs --backup --offset OFFSET DEVICE'."
)


def _unknown(marks: Sequence[_Mark], verdict: dict[str, str], found: Sequence[Superblock]) -> str:
    """Why there is no file system that volflow can back up."""
    broken = "".join(
        f" Its {_named(each, marks)} is damaged or left over: {each.damage or each.doubt}."
        for each in found
    )
    kind = _type(verdict)
    if kind and kind not in SUPPORTED:
        return (
            f"The volume has '{printable(kind)}', {NOT_SUPPORTED}; so far these are "
            f"{', '.join(SUPPORTED)}.{_also(marks)}{broken}"
        )
    if "PTTYPE" in verdict:
        return (
            f"The volume has a partition table ({printable(verdict['PTTYPE'])}); so far volflow "
            f"supports only volumes that are one plain file system.{broken}"
        )
    if len(marks) > 1:
        return f"The volume has signatures of several file systems: {_listed(marks)}.{broken}"
    return f"{NOT_KNOWN}{f'.{broken}' if broken else ': is it formatted?'}"


def _require_whole(kind: str, chosen: Superblock) -> None:
    """Refuse what cannot be read, or what asks the kernel of this host for more than to read it.

    :raises DiskError: the superblock is damaged, the file system needs other devices, or it asks
        for mount options
    """
    if chosen.damage:
        raise DiskError(
            f"The {kind} of the volume is damaged: {chosen.damage}. Run "
            f"'{_REPAIRS[chosen.family]}' in the guest, then back it up again."
        )
    mounting.require_known(chosen.mount_options)
    if chosen.external:
        what = " and ".join(chosen.external)
        move = {
            "ext": "In the guest, unmount it and move the journal into it: 'tune2fs -O "
            "^has_journal DEVICE', then 'tune2fs -j DEVICE'.",
            "xfs": "Copy the files to an XFS that is on one volume.",
        }
        raise DiskError(
            f"The {what} of the volume's {kind} is on another device; volflow supports only file "
            f"systems that are on one volume. {move[chosen.family]}"
        )


def _blkid(privilege: Privilege, device: str, *only: str) -> tuple[dict[str, str], int]:
    # Low-level probing: the cache of blkid may be out of date.
    done = privilege.attempt("blkid", "--probe", *only, "--output", "export", device)
    if done.returncode not in (0, _NOTHING, _SEVERAL):
        raise DiskError(f"The volume could not be probed: {done.stderr.strip()}")
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return found, done.returncode


def _tags(privilege: Privilege, device: str, family: str) -> dict[str, str]:
    """What blkid says of the file system of this family alone."""
    return _blkid(privilege, device, "--match-types", ",".join((*_FAMILIES[family], _DEV)))[0]


def _type(verdict: dict[str, str]) -> str:
    return verdict.get("TYPE", "").replace(_DEV, "ext4")


def _label(privilege: Privilege, device: str, kind: str) -> str:
    # blkid escapes everything but plain ASCII, unless it prints only one value.
    types = f"{kind},{_DEV}"
    only = ("--match-types", types, "--output", "value", "--match-tag", "LABEL")
    return privilege.attempt("blkid", "--probe", *only, device).stdout.removesuffix("\n")


def _marks(privilege: Privilege, device: str) -> list[_Mark]:
    """Every mark on the device."""
    done = privilege.attempt("wipefs", "--no-act", "--json", device)
    if done.returncode:
        raise DiskError(f"The volume could not be probed: {done.stderr.strip()}")
    found = json.loads(done.stdout or "{}").get("signatures") or []
    marks = [_Mark(int(each["offset"], 16), str(each["type"])) for each in found]
    return sorted(marks, key=lambda mark: mark.offset)


def _read(privilege: Privilege, device: str) -> tuple[list[Superblock], list[Partition]]:
    done = privilege.attempt(*_SUPERBLOCKS, device)
    if done.returncode:
        raise DiskError(f"The volume could not be read: {printable(done.stderr.strip())}")
    found = json.loads(done.stdout)
    return (
        [Superblock(**each) for each in found["superblocks"]],
        [Partition(**each) for each in found["partitions"]],
    )


def _of(found: Sequence[Superblock], kind: str) -> Superblock:
    """The superblock of a type that blkid has recognised."""
    for each in found:
        if kind in _FAMILIES[each.family]:
            return each
    raise DiskError(f"The superblock of the volume's {kind} could not be read.")


def _marked(chosen: Superblock, marks: Sequence[_Mark]) -> str:
    return next((each.type for each in marks if each.offset == chosen.mark), chosen.family)


def _named(chosen: Superblock, marks: Sequence[_Mark]) -> str:
    return f"{_marked(chosen, marks)} at offset {chosen.mark}"


def _also(marks: Sequence[_Mark]) -> str:
    return f" Its marks: {_listed(marks)}." if len(marks) > 1 else ""


def _listed(marks: Sequence[_Mark]) -> str:
    more = f" and {len(marks) - _NAMED} more" if len(marks) > _NAMED else ""
    return f"{', '.join(map(str, marks[:_NAMED]))}{more}"
