"""Partition tables, as sfdisk reads them. A guest can have written anything into them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volflow.disk.gpt import Copy
from volflow.errors import DiskError, HostError
from volflow.host import program
from volflow.host.privilege import Privilege
from volflow.host.program import Limit
from volflow.printable import printable

# The tables that volflow takes apart.
KINDS = ("dos", "gpt")
# Partitions of a table: as many as a GPT has entries by default.
MOST = 128
# Characters of what sfdisk prints to make the table again.
DUMP = 64 * 1024
# Seconds for sfdisk, which reads some sectors.
_LIMIT = Limit(120.0, "check whether the volume's storage answers", total=True)
# Types in a DOS table that are no partitions, but hold others.
_EXTENDED = (0x05, 0x0F, 0x85)
# The type of the entry that keeps old programs away from a GPT.
_PROTECTIVE = "ee"
_TYPE = re.compile(r"[0-9A-Fa-f]{1,2}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_NUMBER = re.compile(r"\d{1,4}$")
_NODE = re.compile(r"^\S+?(\d+) : ", re.MULTILINE)
_DEVICE = re.compile(r"^device: .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Partition:
    """An entry of a partition table.

    :ivar number: as Linux counts it
    :ivar start: in bytes
    :ivar size: in bytes
    :ivar type: two hexadecimal digits of a DOS table, or the GUID of a GPT
    :ivar name: in a GPT
    :ivar why: what the table says wrongly of it; empty if nothing
    """

    number: int
    start: int
    size: int
    type: str
    name: str = ""
    why: str = ""

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class Table:
    """A partition table.

    :ivar kind: ``dos`` or ``gpt``
    :ivar id: of the disk
    :ivar dump: what ``sfdisk --dump`` prints, without the path of the device
    :ivar partitions: in the order of their place, without those that only hold others
    :ivar backup: the first byte of the backup and the byte after it, or None
    """

    kind: str
    id: str
    dump: str
    partitions: Sequence[Partition]
    backup: tuple[int, int] | None = None


def read(
    privilege: Privilege, device: str, size: int, primary: Copy | None, backup: Copy | None
) -> Table:
    """The partition table of a device.

    :param size: bytes of the device
    :param primary: the copy of the GPT at its beginning, if there is one
    :param backup: the other copy
    :raises DiskError: why its partitions cannot be told apart, in a clause
    """
    try:
        told = json.loads(_sfdisk(privilege, "--json", device))["partitiontable"]
        kind, unit = str(told["label"]), int(told["sectorsize"])
        entries = [_entry(each, unit) for each in told.get("partitions", [])]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DiskError(f"what sfdisk says of the table makes no sense ({error!r})") from error
    if kind not in KINDS:
        raise DiskError(f"its partition table is of the type '{printable(kind)}'")
    if kind == "dos" and any(each.type == _PROTECTIVE for each in entries):
        raise DiskError("it has a protective MBR, and no GPT that fits the volume")
    first = unit
    if kind == "gpt":
        if primary is None or not primary.sound:
            sound = backup is not None and backup.sound
            also = ", and only its backup is sound" if sound else ""
            raise DiskError(f"its GPT is damaged{also}")
        first = max(2 * unit, primary.entries + primary.length)
    found = _checked(kind, entries, first, size)
    dump = _sfdisk(privilege, "--dump", device)
    if len(dump) > DUMP:
        raise DiskError(f"sfdisk prints {len(dump)} characters for its table")
    return Table(
        kind=kind,
        id=str(told.get("id", ""))[:64],
        dump=_NODE.sub(r"\1 : ", _DEVICE.sub("", dump)),
        partitions=found,
        backup=_backup(primary, backup, found, size) if kind == "gpt" and primary else None,
    )


# The kernel gets to know nothing of what changes.
_QUIET = ("--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never")


def move_backup(privilege: Privilege, device: str) -> None:
    """Write the backup of a GPT to the end of its device, which has become larger.

    :raises DiskError: sfdisk cannot do that
    """
    _sfdisk(privilege, *_QUIET, "--relocate", "gpt-bak-std", device)


def resize(privilege: Privilege, device: str, number: int, sectors: int) -> None:
    """Give a partition another size.

    :param number: of the partition
    :raises DiskError: sfdisk cannot do that
    """
    command = (*_QUIET, "--partno", str(number), device)
    _sfdisk(privilege, *command, stdin=f"size={sectors}\n")


def _sfdisk(privilege: Privilege, *arguments: str, stdin: str | None = None) -> str:
    try:
        done = program.run(
            lambda out: privilege.start("sfdisk", *arguments, stdin=stdin, stdout=out, limit=_LIMIT)
        )
    except HostError as error:
        raise DiskError(f"its partition table could not be read ({error})") from error
    if done.returncode:
        raise DiskError(f"sfdisk cannot use its table ({printable(done.stderr.strip())})")
    return done.stdout


def _entry(told: Mapping[str, Any], unit: int) -> Partition:
    number = _NUMBER.search(str(told["node"]))
    kind = str(told["type"])
    if not number or not _TYPE.fullmatch(kind):
        raise ValueError(f"{told['node']} of type {kind}")
    return Partition(
        number=int(number[0]),
        start=int(told["start"]) * unit,
        size=int(told["size"]) * unit,
        type=kind if len(kind) > 2 else kind.lower().zfill(2),
        name=str(told.get("name", "")),
    )


def _checked(
    kind: str, entries: Sequence[Partition], first: int, size: int
) -> tuple[Partition, ...]:
    """The partitions in the order of their place.

    :param first: where the first one can begin, in bytes
    :raises DiskError: the table lies
    """
    if len(entries) > MOST:
        raise DiskError(f"its table has {len(entries)} partitions, more than {MOST}")
    found = []
    for each in sorted(entries, key=lambda each: (each.start, each.number)):
        if each.size <= 0:
            raise DiskError(f"its partition {each.number} has no sectors")
        if each.start < first:
            raise DiskError(f"its partition {each.number} begins within the table")
        if each.start >= size:
            raise DiskError(f"its partition {each.number} begins past the end of the volume")
        found.append(each)
    held = [each for each in found if kind == "dos" and int(each.type, 16) in _EXTENDED]
    own = [each for each in found if each not in held]
    if not own:
        raise DiskError("its table has no partitions")
    primaries = [each for each in found if each in held or kind == "gpt" or each.number <= 4]
    _require_apart(primaries)
    _require_apart(own)
    return tuple(_cut(each, size) for each in own)


def _require_apart(found: Sequence[Partition]) -> None:
    for one, other in itertools.pairwise(found):
        if one.end > other.start:
            raise DiskError(f"its partitions {one.number} and {other.number} overlap")


def _cut(each: Partition, size: int) -> Partition:
    if each.end <= size:
        return each
    why = f"the table gives it {each.size} bytes, {each.end - size} of them past the volume's end"
    return Partition(each.number, each.start, size - each.start, each.type, each.name, why)


def _backup(
    primary: Copy, backup: Copy | None, found: Sequence[Partition], size: int
) -> tuple[int, int] | None:
    """Where the backup of a GPT is: usually at the end; behind the data of a volume that grew."""
    at, end = primary.other, primary.other + primary.sector
    if end > size or any(each.start < end and at < each.end for each in found):
        return None
    entries = backup.entries if backup else at - primary.length
    before = max((each.end for each in found if each.end <= at), default=0)
    # Whatever is between the last usable sector and the header belongs to it.
    start = min(entries, primary.last)
    if not before <= start <= at:
        start = max(before, at - primary.length)
    whole = start // primary.sector * primary.sector
    return (whole if whole >= before else at), end
