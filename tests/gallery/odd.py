"""Disks that are damaged, or whose table lies."""

from __future__ import annotations

import struct

from tests.gallery.bench import MIB, Bench
from tests.gallery.exhibit import FILES, GAP, TABLE, Exhibit, partition, whole
from tests.gallery.tables import EXT4, SWAP
from tests.gallery.whole import raid_member

_SECTOR = 512


def _entry(bench: Bench, number: int, start: int, count: int) -> None:
    """Write an entry of an MBR, whatever it is worth."""
    bench.write(430 + 16 * number, struct.pack("<B3xB3xII", 0, 0x83, start, count))


def _damaged(bench: Bench) -> None:
    """The superblock of an ext4 has another checksum than it should have."""
    file = bench.made(bench.size, *EXT4)
    bench.fill(file)
    bench.put(file)
    bench.write(1024 + 0x30, b"\xff" * 8)


def _erased(bench: Bench) -> None:
    """The beginning of an ext4 has been overwritten; its backups are sound."""
    bench.table("label: dos\nsize=32M\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *EXT4, files=True)
    start, _ = bench.place(1)
    bench.noise(start, 65536)


def _gpt(bench: Bench) -> None:
    bench.table("label: gpt\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    bench.noise(_SECTOR, 92)


def _cut(bench: Bench) -> None:
    """The last partition ends beyond the volume."""
    bench.table("label: dos\nsize=32M\nsize=16M\n")
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *SWAP)
    start, _ = bench.place(2)
    _entry(bench, 2, start // _SECTOR, 2 * bench.size // _SECTOR)


def _overlap(bench: Bench) -> None:
    bench.table("label: dos\nsize=32M\nsize=16M\n")
    bench.partition(1, *EXT4, files=True)
    _entry(bench, 2, 30 * MIB // _SECTOR, 16 * MIB // _SECTOR)


def _beyond(bench: Bench) -> None:
    bench.table("label: dos\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    _entry(bench, 2, bench.size // _SECTOR + 8, 2048)


def _protective(bench: Bench) -> None:
    """A GPT of a larger volume, of which this is the beginning."""
    size, bench.size = bench.size, 2 * bench.size
    with open(bench.disk, "r+b") as file:
        file.truncate(bench.size)
        bench.table("label: gpt\nsize=32M\n")
        file.truncate(size)
    bench.size = size


def _iso(bench: Bench) -> None:
    """An ISO image that can also be a disk."""
    bench.table("label: dos\nsize=16M,type=17\n")
    bench.write(32768, b"\x01CD001\x01\0" + b"LINUX".ljust(32) + b"LIVE".ljust(32))
    bench.noise(64 * 1024, MIB)


def _left_over(bench: Bench) -> None:
    """A partition table over the whole-disk file system that was there before."""
    file = bench.made(bench.size, *EXT4)
    bench.fill(file)
    bench.put(file)
    bench.table("label: dos\nsize=16M\nsize=16M\n")


def _mirrored(bench: Bench) -> None:
    """One half of a mirror with partitions: its superblock is at the end, and the table in it."""
    bench.table("label: dos\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    at = (bench.size // _SECTOR - 16) // 8 * 8
    bench.write(at * _SECTOR, raid_member(at * _SECTOR, at=at))


def _empty_table(bench: Bench) -> None:
    file = bench.made(bench.size, *EXT4)
    bench.fill(file)
    bench.put(file)
    bench.write(510, b"\x55\xaa")


def _label(kind: str) -> Exhibit:
    def make(bench: Bench) -> None:
        bench.table(f"label: {kind}\n")

    why = f"partition table is of the type '{kind}'"
    return Exhibit(f"{kind} label", make, whole(), why=why, size=64 * MIB)


EXHIBITS = (
    Exhibit("ext4 damaged on purpose", _damaged, whole("ext4"), size=64 * MIB),
    Exhibit(
        "ext4 erased at its beginning",
        _erased,
        (TABLE, partition(1), partition(2, "ext4", FILES), GAP),
        "dos",
        size=128 * MIB,
    ),
    Exhibit("GPT damaged on purpose", _gpt, whole(), why="only its backup is sound", size=64 * MIB),
    Exhibit(
        "MBR that lies about its size",
        _cut,
        (TABLE, partition(1, "ext4", FILES), partition(2, "swap")),
        "dos",
        size=64 * MIB,
    ),
    Exhibit("MBR with overlaps", _overlap, whole(), why="overlap", size=64 * MIB),
    Exhibit("MBR beyond the end", _beyond, whole(), why="begins past the end", size=64 * MIB),
    Exhibit("GPT of a larger disk", _protective, whole(), why="no GPT that fits", size=64 * MIB),
    Exhibit("ISO with a table", _iso, whole("iso9660"), why="also iso9660", size=64 * MIB),
    Exhibit("table over an ext4", _left_over, whole("ext4"), why="also ext4", size=64 * MIB),
    Exhibit("ext4 with an empty table", _empty_table, whole("ext4", FILES), size=64 * MIB),
    Exhibit(
        *("half of a mirror with a table", _mirrored, whole("linux_raid_member")),
        size=64 * MIB,
    ),
    _label("sun"),
    _label("sgi"),
)
