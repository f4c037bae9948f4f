"""Disks with a partition table."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.gallery.bench import MIB, Bench
from tests.gallery.exhibit import (
    BACKUP,
    FILES,
    GAP,
    IMAGE,
    TABLE,
    Exhibit,
    partition,
)
from tests.gallery.whole import btrfs, luks, raid_member
from tests.support.cloud import run

EXT4 = ("mkfs.ext4", "-q", "-F")
XFS = ("mkfs.xfs", "-q", "-f")
SWAP = ("mkswap", "-q")
NTFS = ("mkntfs", "-Q", "-F", "-q")
FAT = ("mkfs.vfat",)
_GRUB = Path("/usr/lib/grub/i386-pc")
_BIOS, _ESP = "21686148-6449-6E6F-744E-656564454649", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_MSR, _BASIC = "E3C9E316-0B5C-4DB8-817D-F92DF00215AE", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


def boot_code(bench: Bench, first: int, sectors: int) -> None:
    """Write GRUB's boot sector, which loads these sectors, and something to load."""
    code = bytearray((_GRUB / "boot.img").read_bytes()[:440])
    struct.pack_into("<Q", code, 0x5C, first)
    bench.write(0, bytes(code))
    core = bytearray((_GRUB / "diskboot.img").read_bytes())
    struct.pack_into("<QHH", core, 500, first + 1, sectors - 1, 0x820)
    bench.write(first * 512, bytes(core))
    bench.noise((first + 1) * 512, (sectors - 1) * 512)


def _mbr(bench: Bench) -> None:
    bench.table("label: dos\nsize=64M,bootable\nsize=16M,type=82\n")
    boot_code(bench, 1, 100)
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *SWAP)


def _logical(bench: Bench) -> None:
    logical = "5: size=16M,type=82\n6: size=24M\n7: size=24M\n"
    bench.table(f"label: dos\n1: size=24M,bootable\n2: size=96M,type=5\n{logical}")
    bench.partition(1, "mkfs.ext2", "-q", "-F", files=True)
    bench.partition(5, *SWAP)
    bench.partition(6, "mkfs.ext3", "-q", "-F", files=True)
    bench.partition(7, *EXT4, files=True)


def _cloud(bench: Bench) -> None:
    """As the images of distributions for clouds are."""
    bench.table(
        f"label: gpt\nstart=2048,size=2M,type={_BIOS},name=bios\n"
        f"size=40M,type={_ESP},name=ESP,attrs=RequiredPartition\nsize=96M,name=root\n"
    )
    boot_code(bench, 2048, 100)
    bench.partition(2, *FAT, "-F", "32")
    bench.partition(3, *EXT4, files=True)


def _grown(bench: Bench) -> None:
    """The volume is larger than the image that was written to it."""
    size, bench.size = bench.size, 64 * MIB
    with open(bench.disk, "r+b") as file:
        file.truncate(bench.size)
    bench.table("label: gpt\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    bench.size = size
    with open(bench.disk, "r+b") as file:
        file.truncate(size)


def _gaps(bench: Bench) -> None:
    bench.table("label: gpt\nstart=8192,size=32M\nstart=131072,size=32M\n")
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *EXT4, files=True)
    bench.noise(40 * MIB, MIB)
    bench.noise(MIB, 65536)


def _hybrid(bench: Bench) -> None:
    bench.table("label: gpt\nsize=32M\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *FAT)
    entries = ((0xEE, 1, 2047), (0x83, 2048, 65536))
    for number, (kind, start, count) in enumerate(entries):
        entry = struct.pack("<B3xB3xII", 0, kind, start, count)
        bench.write(446 + 16 * number, entry)


def _large_sectors(kind: str) -> Exhibit:
    def make(bench: Bench) -> None:
        bench.table(f"label: {kind}\nsize=64M\nsize=320M\n")
        bench.partition(1, *EXT4, files=True)
        bench.partition(2, *XFS, "-s", "size=4096", files=True)

    backup = (BACKUP,) if kind == "gpt" else ()
    return Exhibit(
        f"{'GPT' if kind == 'gpt' else 'MBR'} with sectors of 4096 bytes",
        make,
        (TABLE, partition(1, "ext4", FILES), partition(2, "xfs", FILES), GAP, *backup),
        kind,
        size=512 * MIB,
        sector=4096,
    )


def _many_kinds(bench: Bench) -> None:
    """What cannot be stored as files, beside what can be."""
    bench.table("label: gpt\n" + "".join(f"size={size}M\n" for size in (32, 16, 32, 120, 16, 32)))
    bench.partition(1, *EXT4, files=True)
    bench.partition(2, *SWAP)
    for number, make in ((3, luks), (4, btrfs)):
        start, size = bench.place(number)
        bench.put(make(bench, size), start)
    start, size = bench.place(5)
    bench.write(start + 4096, raid_member(size))
    bench.partition(6, "mkfs.exfat")


def _windows(bench: Bench) -> None:
    bench.table(f"label: gpt\nsize=40M,type={_ESP}\nsize=16M,type={_MSR}\nsize=64M,type={_BASIC}\n")
    bench.partition(1, *FAT, "-F", "32")
    bench.partition(3, *NTFS)


def _journal(bench: Bench) -> None:
    """An ext4 with its journal on another partition."""
    bench.table("label: dos\nsize=48M\nsize=16M\n")
    journal, size = bench.place(2)
    ext4, room = bench.place(1)
    log = bench.made(size, "mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev")
    file = bench.new(room)

    def make(device: str) -> None:
        options = ("-b", "4096", "-J", f"device={device}")
        bench.with_loop(file, lambda path: run(*EXT4, *options, path))

    bench.with_loop(log, make)
    bench.put(log, journal)
    bench.put(file, ext4)


def _extlinux(bench: Bench) -> None:
    bench.table("label: dos\nsize=64M,bootable\nsize=32M\n")
    start, size = bench.place(1)
    file = bench.made(size, *EXT4)

    def install(root: Path) -> None:
        (root / "boot").mkdir()
        run("extlinux", "--install", str(root / "boot"))

    bench.fill(file, more=install)
    bench.put(file, start)
    bench.partition(2, *EXT4, files=True)


def _block_list(bench: Bench) -> None:
    """GRUB without room behind the boot sector: it reads its core image from the file system."""
    bench.table("label: dos\nstart=63,size=64M\nsize=32M\n")
    bench.partition(1, *EXT4, files=True)
    boot_code(bench, 63 + 40 * 2048, 64)
    bench.partition(2, *EXT4, files=True)


def _many(bench: Bench) -> None:
    bench.table("label: gpt\n" + "size=1M\n" * 24)
    bench.noise(bench.place(17)[0], 4096)


def _in_use(bench: Bench) -> None:
    bench.table("label: gpt\nsize=64M\nsize=320M\n")
    bench.partition(1, *EXT4, crashed=True)
    bench.partition(2, *XFS, crashed=True)


EXHIBITS = (
    Exhibit(
        "MBR with GRUB in its gap",
        _mbr,
        (TABLE, partition(1, "ext4", FILES), partition(2, "swap"), GAP),
        "dos",
    ),
    Exhibit(
        "MBR with logical partitions",
        _logical,
        (
            *(TABLE, partition(1, "ext2", FILES), GAP, partition(5, "swap"), GAP),
            *(partition(6, "ext3", FILES), GAP, partition(7, "ext4", FILES), GAP),
        ),
        "dos",
    ),
    Exhibit(
        "GPT as in a cloud image",
        _cloud,
        (
            *(TABLE, partition(1, name="bios"), partition(2, "vfat", name="ESP")),
            *(partition(3, "ext4", FILES, "root"), GAP, BACKUP),
        ),
        "gpt",
    ),
    Exhibit(
        "GPT on a volume that grew",
        _grown,
        (TABLE, partition(1, "ext4", FILES), GAP, BACKUP, GAP),
        "gpt",
    ),
    Exhibit(
        "GPT with data in its gaps",
        _gaps,
        (TABLE, partition(1, "ext4", FILES), GAP, partition(2, "ext4", FILES), GAP, BACKUP),
        "gpt",
    ),
    Exhibit(
        "hybrid MBR",
        _hybrid,
        (TABLE, partition(1, "ext4", FILES), partition(2, "vfat"), GAP, BACKUP),
        "gpt",
    ),
    _large_sectors("gpt"),
    _large_sectors("dos"),
    Exhibit(
        "GPT with all kinds of partitions",
        _many_kinds,
        (
            *(TABLE, partition(1, "ext4", FILES), partition(2, "swap")),
            *(partition(3, "crypto_LUKS"), partition(4, "btrfs")),
            *(partition(5, "linux_raid_member"), partition(6, "exfat"), GAP, BACKUP),
        ),
        "gpt",
        size=320 * MIB,
        needs=("cryptsetup", "mkfs.btrfs", "mkfs.exfat"),
    ),
    Exhibit(
        "GPT as of Windows",
        _windows,
        (TABLE, partition(1, "vfat"), partition(2), partition(3, "ntfs"), GAP, BACKUP),
        "gpt",
        needs=("mkfs.vfat", "mkntfs"),
    ),
    Exhibit(
        "ext4 with its journal elsewhere",
        _journal,
        (TABLE, partition(1, "ext4"), partition(2, "jbd"), GAP),
        "dos",
    ),
    Exhibit(
        "ext4 with extlinux",
        _extlinux,
        (TABLE, partition(1, "ext4", IMAGE), partition(2, "ext4", FILES), GAP),
        "dos",
        needs=("extlinux",),
    ),
    Exhibit(
        "MBR with GRUB that reads blocks",
        _block_list,
        (TABLE, partition(1, "ext4", IMAGE), partition(2, "ext4", FILES), GAP),
        "dos",
    ),
    Exhibit(
        "GPT with many partitions",
        _many,
        (TABLE, *(partition(number) for number in range(1, 25)), GAP, BACKUP),
        "gpt",
    ),
    Exhibit(
        "GPT in use",
        _in_use,
        (TABLE, partition(1, "ext4", FILES), partition(2, "xfs", FILES), GAP, BACKUP),
        "gpt",
        size=512 * MIB,
    ),
)
