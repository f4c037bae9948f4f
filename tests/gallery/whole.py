"""Disks without a partition table."""

from __future__ import annotations

import re
import struct
import uuid
from pathlib import Path

from tests.gallery.bench import MIB, Bench
from tests.gallery.exhibit import FILES, Exhibit, whole
from tests.support.cloud import run

XFS_SIZE = 320 * MIB


def file_system(*command: str, crashed: bool = False) -> Exhibit:
    """A disk that is one file system with files."""
    kind = command[0].removeprefix("mkfs.")

    def make(bench: Bench) -> None:
        file = bench.made(bench.size, *command)
        bench.fill(file, crashed=crashed)
        bench.put(file)

    return Exhibit(
        name=f"{kind}{' in use' if crashed else ''}",
        make=make,
        regions=whole(kind, FILES),
        size=XFS_SIZE if kind == "xfs" else 64 * MIB,
        needs=(command[0],),
    )


def by_program(name: str, kind: str, *command: str, size: int = 64 * MIB) -> Exhibit:
    """A disk that a program has filled."""

    def make(bench: Bench) -> None:
        bench.put(bench.made(bench.size, *command))

    return Exhibit(name=name, make=make, regions=whole(kind), size=size, needs=(command[0],))


def _btrfs(bench: Bench) -> None:
    bench.put(btrfs(bench, bench.size))


def btrfs(bench: Bench, size: int) -> Path:
    """A btrfs with a subvolume and a snapshot of it."""
    file = bench.made(size, "mkfs.btrfs", "-q", "-L", "data")

    def inside(root: Path) -> None:
        run("btrfs", "subvolume", "create", str(root / "home"))
        (root / "home" / "file").write_text("before\n")
        run("btrfs", "subvolume", "snapshot", "-r", str(root / "home"), str(root / "yesterday"))
        (root / "home" / "file").write_text("after\n")

    bench.fill(file, more=inside)
    return file


def luks(bench: Bench, size: int) -> Path:
    """A LUKS device with something encrypted."""
    key = bench.new(0)
    key.write_bytes(b"secret")
    file = bench.made(
        size,
        *("cryptsetup", "luksFormat", "--batch-mode", "--type", "luks2", "--key-file", str(key)),
        *("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--label", "hidden"),
    )
    with open(file, "r+b") as opened:
        opened.seek(16 * MIB)
        opened.write(bench.random.randbytes(MIB))
    return file


def _luks(bench: Bench) -> None:
    bench.put(luks(bench, bench.size))


def _zfs(bench: Bench) -> None:
    """The uberblocks of the four labels of a ZFS member."""
    size = bench.size
    for base in (0, 256 * 1024, size - 512 * 1024, size - 256 * 1024):
        for number in range(128):
            block = struct.pack("<5Q", 0x00BAB10C, 5000, number, 0, 1_700_000_000)
            bench.write(base + 128 * 1024 + 1024 * number, block)
    bench.noise(4 * MIB, MIB)


def raid_member(size: int, at: int = 8) -> bytes:
    """The superblock of a member of an md array, version 1.2, or 1.0 if it is at the end.

    The layout is that of ``struct mdp_superblock_1``, linux/raid/md_p.h.

    :param at: the sector that it is for
    """
    data = 2048 if at == 8 else 0
    block = bytearray(256 + 4)
    struct.pack_into("<4I", block, 0, 0xA92B4EFC, 1, 0, 0)
    block[16:32] = uuid.UUID(int=0x5EED).bytes
    block[32:40] = b"guest:0\0"
    sectors = size // 512 - data
    struct.pack_into("<Q2IQ2I", block, 64, 1_700_000_000, 1, 0, sectors, 0, 2)
    struct.pack_into("<4Q", block, 128, data, sectors, at, 0)
    block[168:184] = uuid.UUID(int=0xD15C).bytes
    struct.pack_into("<2Q2I", block, 192, 1_700_000_000, 1, 0, 2)
    struct.pack_into("<2H", block, 256, 0, 1)
    total = sum(struct.unpack("<65I", block))
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return bytes(block)


def _raid(bench: Bench) -> None:
    bench.write(4096, raid_member(bench.size))
    bench.noise(MIB, MIB)


def _nothing(bench: Bench) -> None:
    pass


def _full(bench: Bench) -> None:
    for offset in range(0, bench.size, MIB):
        bench.noise(offset, MIB)


def _fat(bench: Bench) -> None:
    file = bench.made(bench.size, "mkfs.vfat", "-n", "STICK")
    source = bench.new(0)
    source.write_bytes(bench.random.randbytes(100_000))
    run("mcopy", "-i", str(file), str(source), "::photo.jpg")
    bench.put(file)


def _luks_inside(bench: Bench) -> None:
    """A healthy ext4 with a file that has the second header of LUKS where blkid looks for it."""
    file = bench.made(bench.size, "mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "1024")
    place = 4 * MIB
    header = bytearray(4096)
    struct.pack_into(">6sHQQ", header, 0, b"SKUL\xba\xbe", 2, 16384, 1)
    struct.pack_into(">Q", header, 256, place)

    def inside(root: Path) -> None:
        image = root / "disk.luks"
        run("fallocate", "--length", str(40 * MIB), str(image))
        run("sync", str(image))
        at = _logical(image, place // 4096) * 4096
        with open(image, "r+b") as opened:
            opened.seek(at)
            opened.write(header)
        for offset, length in ((0, at), (at + 4096, 40 * MIB - at - 4096)):
            where = ("--offset", str(offset), "--length", str(length))
            run("fallocate", "--punch-hole", *where, str(image))

    bench.fill(file, more=inside)
    with open(file, "rb") as opened:
        opened.seek(place)
        assert opened.read(6) == b"SKUL\xba\xbe", "the file is elsewhere"
    bench.put(file)


def _logical(file: Path, block: int) -> int:
    """The block of a file that is in this block of the file system."""
    for line in run("filefrag", "-v", "-b4096", str(file)).splitlines():
        numbers = [int(each) for each in re.findall(r"\d+", line)]
        if re.match(r" +\d+:", line) and numbers[3] <= block <= numbers[4]:
            return numbers[1] + block - numbers[3]
    raise AssertionError(f"{file} does not use block {block}")


EXHIBITS = (
    file_system("mkfs.ext2", "-q", "-F"),
    file_system("mkfs.ext3", "-q", "-F"),
    file_system("mkfs.ext4", "-q", "-F", "-L", "data"),
    file_system("mkfs.ext4", "-q", "-F", crashed=True),
    file_system("mkfs.xfs", "-q", "-f", "-L", "data"),
    file_system("mkfs.xfs", "-q", "-f", crashed=True),
    by_program("swap", "swap", "mkswap", "-q", "-L", "swap"),
    by_program("NTFS", "ntfs", "mkntfs", "-Q", "-F", "-q", "-L", "windows"),
    by_program("exFAT", "exfat", "mkfs.exfat", "-L", "card"),
    by_program("a journal of ext4", "jbd", "mke2fs", "-q", "-F", "-O", "journal_dev"),
    Exhibit("vfat without a table", _fat, whole("vfat"), needs=("mkfs.vfat", "mcopy")),
    Exhibit("btrfs with snapshots", _btrfs, whole("btrfs"), size=128 * MIB, needs=("mkfs.btrfs",)),
    Exhibit("LUKS", _luks, whole("crypto_LUKS"), size=64 * MIB, needs=("cryptsetup",)),
    Exhibit("ZFS", _zfs, whole("zfs_member"), size=64 * MIB),
    Exhibit("a member of a RAID", _raid, whole("linux_raid_member"), size=64 * MIB),
    Exhibit("empty", _nothing, whole(), size=64 * MIB),
    Exhibit("full of noise", _full, whole(), size=32 * MIB),
    Exhibit("ext4 with LUKS in a file", _luks_inside, whole("ext4", FILES)),
)
