"""Disks with LVM, whole or in a partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.gallery.bench import MIB, Bench
from tests.gallery.exhibit import (
    BACKUP,
    FILES,
    GAP,
    METADATA,
    TABLE,
    Exhibit,
    partition,
    volume,
    whole,
)
from tests.gallery.tables import EXT4, SWAP, XFS
from tests.support import lvm_disks
from tests.support.lvm_disks import EXTENT, Segments

# The first extent of a physical volume, by default.
_FIRST = MIB
_LVM = ("vgcfgrestore",)


def physical(
    bench: Bench,
    size: int,
    group: str,
    volumes: Mapping[str, Segments],
    fill: Callable[[str, int], Path | None] = lambda name, size: None,
) -> Path:
    """A physical volume.

    :param fill: makes the content of a logical volume of one piece
    """
    file = bench.new(size)
    bench.with_loop(file, lambda device: lvm_disks.group(device, group, volumes))
    disk, bench.disk = bench.disk, file
    try:
        for name, segments in volumes.items():
            (first, count), *more = segments
            content = None if more else fill(name, count * EXTENT)
            if content:
                bench.put(content, _FIRST + first * EXTENT)
    finally:
        bench.disk = disk
    return file


def _debian(bench: Bench) -> None:
    """As the Debian installer makes it: /boot, and all else in LVM on a logical partition."""
    bench.table("label: dos\n1: size=64M,bootable\n2: type=5\n5: type=8e\n")
    bench.partition(1, "mkfs.ext2", "-q", "-F", files=True)
    start, size = bench.place(5)
    room = (size - _FIRST) // EXTENT
    volumes = {"root": [(0, 20)], "swap_1": [(20, 6)], "home": [(26, room - 26)]}
    bench.put(physical(bench, size, "guest-vg", volumes, _content(bench)), start)


def _content(bench: Bench) -> Callable[[str, int], Path]:
    def make(name: str, size: int) -> Path:
        if name.startswith("swap"):
            return bench.made(size, *SWAP)
        file = bench.made(size, *(XFS if name == "data" else EXT4))
        bench.fill(file)
        return file

    return make


def _whole(bench: Bench) -> None:
    volumes = {"data": [(2, 80)], "logs": [(84, 10)]}
    bench.put(physical(bench, bench.size, "storage", volumes, _content(bench)))


def _pieces(bench: Bench) -> None:
    """A logical volume that was extended when something else was behind it."""
    volumes = {"root": [(0, 10), (14, 6)], "swap": [(10, 4)]}
    bench.put(physical(bench, bench.size, "guest", volumes, lambda *_: None))
    bench.noise(_FIRST, MIB)


def _two(bench: Bench) -> None:
    """One of the two physical volumes of a group."""
    other, own = bench.new(64 * MIB), bench.new(bench.size)

    def make(one: str) -> None:
        bench.with_loop(other, lambda two: lvm_disks.group(one, "pair", {}, more=[two]))

    bench.with_loop(own, make)
    bench.put(own)


def _unused(bench: Bench) -> None:
    bench.table("label: gpt\nsize=64M,type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n")
    start, size = bench.place(1)
    file = bench.new(size)
    bench.with_loop(file, _pvcreate)
    bench.put(file, start)


def _pvcreate(device: str) -> None:
    lvm_disks.lvm("pvcreate", device, device)


EXHIBITS = (
    Exhibit(
        "LVM as of the Debian installer",
        _debian,
        (
            *(TABLE, partition(1, "ext2", FILES), GAP, METADATA),
            *(volume("guest-vg/root", "ext4", FILES), volume("guest-vg/swap_1", "swap")),
            *(volume("guest-vg/home", "ext4", FILES), METADATA),
        ),
        "dos",
        size=320 * MIB,
        needs=_LVM,
    ),
    Exhibit(
        "LVM on a whole disk",
        _whole,
        (
            *(METADATA, volume("storage/data", "xfs", FILES), METADATA),
            *(volume("storage/logs", "ext4", FILES), METADATA),
        ),
        size=512 * MIB,
        needs=_LVM,
    ),
    Exhibit(
        "LVM with a volume in pieces", _pieces, whole("LVM2_member"), size=128 * MIB, needs=_LVM
    ),
    Exhibit("LVM on two disks", _two, whole("LVM2_member"), size=64 * MIB, needs=_LVM),
    Exhibit(
        "LVM that is not used",
        _unused,
        (TABLE, partition(1, "LVM2_member"), GAP, BACKUP),
        "gpt",
        size=128 * MIB,
        needs=_LVM,
    ),
)
