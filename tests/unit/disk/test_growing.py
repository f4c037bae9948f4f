"""The last partition of a disk fills a larger device, if its files are stored."""

from __future__ import annotations

import math

import pytest

from volflow.disk.filesystem import FileSystem
from volflow.disk.growing import grown
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.regions import Disk, DiskRegion

MIB = 1024**2
EXT4 = FileSystem("ext4", "uuid")


def disk(
    table: str, *, last: FileSystem | None = EXT4, number: int = 2, role: Role = Role.PARTITION
) -> Disk:
    """A disk of 100 MiB."""
    parts = [
        Part(0, MIB, Role.TABLE),
        Part(MIB, 9 * MIB, Role.PARTITION, number=1),
        Part(10 * MIB, 80 * MIB, role, number=number),
        Part(90 * MIB, 9 * MIB, Role.GAP),
    ]
    if table == "gpt":
        parts.append(Part(99 * MIB, MIB, Role.BACKUP_TABLE))
    else:
        parts[-1] = Part(90 * MIB, 10 * MIB, Role.GAP)
    regions = tuple(
        DiskRegion(place, part, file_system=last if place == 2 else None)
        for place, part in enumerate(parts)
    )
    return Disk(Layout(100 * MIB, 512, table, parts=tuple(parts)), regions)


@pytest.mark.parametrize(("table", "end"), [("gpt", 199), ("dos", 200)])
def test_the_last_partition_fills_the_rest(table: str, end: int) -> None:
    growth = grown(disk(table), 200 * MIB)
    assert (growth.partition, growth.size, growth.why) == (2, (end - 10) * MIB, "")
    region = growth.disk.regions[2]
    assert (region.size, region.file_system) == (growth.size, EXT4)
    # No image of what was behind it may be written into it.
    assert growth.end == 10 * MIB
    # The layout refuses regions that do not cover the device.
    assert growth.disk.layout
    assert growth.disk.layout.size == 200 * MIB


def test_a_device_of_the_same_size_changes_nothing() -> None:
    before = disk("gpt")
    growth = grown(before, 100 * MIB)
    assert (growth.disk, growth.partition, growth.end) == (before, 0, math.inf)


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (disk("gpt", last=None), "partition 2 is not a partition of which the files are stored"),
        (disk("dos", number=5), "in an extended partition"),
        (disk("gpt", role=Role.VOLUME, number=0), "is not a partition"),
    ],
)
def test_what_cannot_grow_keeps_its_size_and_is_told(before: Disk, why: str) -> None:
    growth = grown(before, 200 * MIB)
    assert (growth.disk, growth.partition) == (before, 0)
    assert why in growth.why
