"""Lets the last partition of a disk fill a larger device."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from volflow.disk import partitions
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.regions import Disk, DiskRegion
from volflow.host.privilege import Privilege

_ALIGNMENT = 1024**2
# The sectors that the table of an MBR can count.
_MOST_SECTORS = 2**32 - 1


@dataclass(frozen=True)
class Growth:
    """What a disk is on a larger device.

    :ivar disk: its regions
    :ivar partition: the number of the partition that fills the rest; 0 if none does
    :ivar size: bytes of that partition
    :ivar end: no image of the disk as it was may be written behind this byte
    :ivar why: why the last partition keeps its size, if it was to grow
    """

    disk: Disk
    partition: int = 0
    size: int = 0
    end: float = math.inf
    why: str = ""

    def write(self, privilege: Privilege, device: str) -> None:
        """Write the new size of the partition into the table.

        :param device: the whole device, with sectors as the table counts them
        :raises DiskError: sfdisk cannot do that
        """
        if self.partition:
            sectors = self.size // self.disk.sector_size
            partitions.resize(privilege, device, self.partition, sectors)


def grown(disk: Disk, room: int) -> Growth:
    """The disk on a device of which its last partition fills the rest.

    Only a partition grows that is stored as files: its file system is created in the new size.

    :param room: bytes of the device
    """
    layout = disk.layout
    if layout is None or not layout.table or room <= layout.size:
        return Growth(disk)
    found = [one for one in disk.regions if one.part.role is Role.PARTITION]
    inside = [one for one in disk.regions if one.part.role is Role.VOLUME]
    last = max((*found, *inside), key=lambda one: one.part.start, default=None)
    if last is None:
        return Growth(disk, why="the disk has no partition")
    if last.is_image or last.part.role is Role.VOLUME:
        return Growth(disk, why=f"{last} is not a partition of which the files are stored")
    if layout.table == "dos" and last.part.number > 4:
        return Growth(disk, why=f"{last} is in an extended partition")
    end = room - sum(part.size for part in layout.parts if part.role is Role.BACKUP_TABLE)
    end -= end % max(_ALIGNMENT, layout.sector_size)
    if layout.table == "dos":
        end = min(end, last.part.start + _MOST_SECTORS * layout.sector_size)
    size = end - last.part.start
    if size <= last.part.size:
        return Growth(disk)
    moved = _moved(disk, layout, last, size, room)
    return Growth(moved, last.part.number, size, end=last.part.start)


def _moved(disk: Disk, layout: Layout, last: DiskRegion, size: int, room: int) -> Disk:
    """The disk with another size of its last partition. Regions behind it move to the end."""
    regions = [one for one in disk.regions if one.part.start < last.part.start]
    part = replace(last.part, size=size)
    regions.append(replace(last, part=part))
    behind = [one for one in disk.regions if one.part.role is Role.BACKUP_TABLE]
    start = room - sum(one.size for one in behind)
    if part.end < start:
        regions.append(DiskRegion(len(regions), Part(part.end, start - part.end, Role.GAP)))
    regions += [replace(one, part=replace(one.part, start=start)) for one in behind]
    parts = tuple(one.part for one in regions)
    return Disk(replace(layout, size=room, parts=parts), tuple(regions))
