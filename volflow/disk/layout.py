"""What a device consists of: each of its bytes belongs to exactly one part.

libblkid and sfdisk tell it, and nothing is mounted. A partition table is used only where
nothing speaks against it: else the whole volume is one part, and :attr:`Layout.why` says why.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from volflow.disk import gpt, mapping, partitions, signatures
from volflow.disk.gpt import Copy
from volflow.errors import DiskError, HostError
from volflow.host.privilege import Privilege
from volflow.printable import bounded, printable

_GPT = (sys.executable, "-I", "-S", gpt.__file__)
# Parts of a layout, and characters of a text in it. The names of LVM have 127 characters each.
_PARTS, _TEXT = 4096, 300
_WHY = 4000
# The unit of all places: sectors as the kernel counts them.
_SECTOR = 512


# What begins the reason why a volume with a table is one part.
AS_ONE = "The volume is stored as one image: "


class Role(StrEnum):
    """What a part is for."""

    WHOLE = "whole volume"
    TABLE = "partition table and boot code"
    PARTITION = "partition"
    GAP = "gap"
    BACKUP_TABLE = "backup partition table"
    METADATA = "LVM metadata"
    VOLUME = "logical volume"


@dataclass(frozen=True)
class Part:
    """A range of a device.

    :ivar start: its first byte
    :ivar size: in bytes
    :ivar number: of the partition; 0 if it is none
    :ivar name: of the partition, or the names of a volume group and a logical volume with a slash
    :ivar type: of the partition, as the table says: two hexadecimal digits, or a GUID
    :ivar why: what the table says wrongly of it; empty if nothing
    """

    start: int
    size: int
    role: Role
    number: int = 0
    name: str = ""
    type: str = ""
    why: str = ""

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.start + self.size

    @property
    def what(self) -> str:
        """What it is, for people: ``partition 2 'root'``."""
        if self.role is Role.VOLUME:
            return f"logical volume {self.name}"
        if self.role is Role.PARTITION:
            return f"partition {self.number}{f' {self.name!r}' if self.name else ''}"
        return f"the {self.role}"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Part:
        """Read what :func:`dataclasses.asdict` returned.

        :raises KeyError: a value is missing
        :raises TypeError: a value is of another type
        :raises ValueError: a value makes no sense
        """
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        found = cls(**{**known, "role": Role(values["role"])})
        _require(int, found.start, found.size, found.number)
        _require(str, found.name, found.type, found.why)
        if found.start < 0 or found.size <= 0 or found.number < 0:
            raise ValueError("a part of the disk has an impossible place")
        if found.start % _SECTOR:
            raise ValueError("a part of the disk does not begin at a sector")
        if max(map(len, (found.name, found.type))) > _TEXT or len(found.why) > _WHY:
            raise ValueError("a text of a part of the disk is too long")
        return found


@dataclass(frozen=True)
class Layout:
    """The parts of a device.

    :ivar size: bytes of the device
    :ivar sector_size: bytes of a sector, as the table counts them
    :ivar table: ``dos`` or ``gpt``; empty if the volume is one part
    :ivar table_id: of the disk, in the table
    :ivar dump: the table, as ``sfdisk`` prints and reads it, without the path of the device
    :ivar parts: in the order of their place; they cover the device exactly
    :ivar why: why the volume is taken whole, although it seems to have a table
    :raises ValueError: the parts do not cover the device exactly
    """

    size: int
    sector_size: int
    table: str = ""
    table_id: str = ""
    dump: str = ""
    parts: tuple[Part, ...] = ()
    why: str = ""

    def __post_init__(self) -> None:
        if _uncovered(self.parts, 0, self.size):
            raise ValueError("the parts do not cover the disk exactly once")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Layout:
        """Read what :meth:`to_dict` returned. Whoever has a repository's password can change it.

        :raises KeyError: a value is missing
        :raises TypeError: a value is of another type
        :raises ValueError: a value makes no sense, or the parts do not cover the disk exactly
        """
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        size, sector, parts = values["size"], values["sector_size"], values["parts"]
        _require(int, size, sector)
        texts = [known.get(name, "") for name in ("table", "table_id", "dump", "why")]
        _require(str, *texts)
        _require(list | tuple, parts)
        _require(Mapping, *parts)
        if size < 0 or sector not in mapping.SECTORS or texts[0] not in ("", *partitions.KINDS):
            raise ValueError("the disk of the backup is described wrongly")
        if len(parts) > _PARTS or len(texts[2]) > partitions.DUMP:
            raise ValueError("the description of the disk is too long")
        if len(texts[1]) > _TEXT or len(texts[3]) > _WHY:
            raise ValueError("a text of the disk is too long")
        return cls(**{**known, "parts": tuple(map(Part.from_dict, parts))})

    @classmethod
    def whole(cls, size: int, sector_size: int = _SECTOR, why: str = "") -> Layout:
        """A device that is one part.

        :param why: why, if it seems to have a partition table
        """
        part = Part(0, size, Role.WHOLE)
        return cls(size, sector_size, parts=(part,) if size else (), why=bounded(why))

    def split(self, part: Part, parts: Sequence[Part]) -> Layout:
        """This layout with others in the place of a part.

        :raises ValueError: it does not have the part, or the others do not cover it exactly
        """
        if _uncovered(parts, part.start, part.end):
            raise ValueError("the parts do not cover the part exactly once")
        at = self.parts.index(part)
        return replace(self, parts=(*self.parts[:at], *parts, *self.parts[at + 1 :]))


def find(privilege: Privilege, device: str) -> Layout:
    """The layout of a device. Nothing that is on it is refused.

    :param device: a block device, or a file
    :raises DiskError: the device could not be read
    """
    done = privilege.attempt(*_GPT, device)
    if done.returncode:
        raise DiskError(f"The volume could not be read: {printable(done.stderr.strip())}")
    found = json.loads(done.stdout)
    size, sector = int(found["size"]), int(found["sector"])
    primary, backup = (
        Copy(**found[name]) if found[name] else None for name in ("primary", "backup")
    )
    try:
        seen = signatures.table(privilege, device)
        if not seen:
            return Layout.whole(size, sector)
        if primary and primary.sound and primary.sector != sector:
            # It was made for sectors of another size than the device has on this host.
            with mapping.Mapping(
                privilege,
                device,
                [(0, size // primary.sector * primary.sector)],
                read_only=True,
                sector_size=primary.sector,
            ) as mapped:
                table = partitions.read(privilege, mapped.paths[0], size, primary, backup)
            sector = primary.sector
        else:
            table = partitions.read(privilege, device, size, primary, backup)
    except (DiskError, HostError) as error:
        return Layout.whole(size, sector, f"{AS_ONE}{str(error).rstrip('.')}.")
    return Layout(
        size=size,
        sector_size=sector,
        table=table.kind,
        table_id=table.id,
        dump=table.dump,
        parts=tuple(_parts(table, size)),
    )


def _parts(table: partitions.Table, size: int) -> Iterator[Part]:
    """The parts of a device with a partition table."""
    taken = [
        Part(each.start, each.size, Role.PARTITION, each.number, each.name, each.type, each.why)
        for each in table.partitions
    ]
    if table.backup:
        start, end = table.backup
        taken.append(Part(start, end - start, Role.BACKUP_TABLE))
    at, role = 0, Role.TABLE
    for part in sorted(taken, key=lambda each: each.start):
        if at < part.start:
            yield Part(at, part.start - at, role)
        yield part
        at, role = part.end, Role.GAP
    if at < size:
        yield Part(at, size - at, role)


def _uncovered(parts: Sequence[Part], start: int, end: int) -> bool:
    """Whether a byte of a range belongs to no part of it, or to several, or to one beyond it."""
    at = start
    for part in parts:
        if part.start != at or part.size <= 0:
            return True
        at = part.end
    return at != end


def _require(kind: Any, *values: Any) -> None:
    if not all(isinstance(each, kind) and not isinstance(each, bool) for each in values):
        raise TypeError("a value of the disk's description is of another type")
