"""Which file system is on a device: marks within the data of a sound one do not count."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from volflow.disk import signatures
from volflow.errors import DiskError
from volflow.host.privilege import Privilege, find_program

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="without sudo, probing is for root alone"),
    pytest.mark.skipif(
        not all(map(find_program, ("blkid", "wipefs", "mke2fs", "mkfs.xfs", "debugfs"))),
        reason="blkid, wipefs, mke2fs, mkfs.xfs or debugfs is not installed",
    ),
]

MIB = 1024**2
SIZE = 320 * MIB
UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"
MAKE = {
    "ext2": ("mke2fs", "-q", "-F", "-t", "ext2", "-U", UUID, "-L", "a b"),
    "ext3": ("mke2fs", "-q", "-F", "-t", "ext3", "-U", UUID, "-L", "a b"),
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-L", "a b"),
    # Without a checksum in the superblock, and with a block per kilobyte.
    "ext4 old": ("mke2fs", "-qFt", "ext4", "-O", "^metadata_csum", "-U", UUID, "-L", "a b"),
    "ext4 1k": ("mke2fs", "-qFt", "ext4", "-b", "1024", "-U", UUID, "-L", "a b"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-m", f"uuid={UUID}", "-L", "a_b"),
    "xfs v4": ("mkfs.xfs", "-q", "-f", "-m", f"crc=0,uuid={UUID}", "-L", "a_b"),
    "xfs 4k": ("mkfs.xfs", "-q", "-f", "-s", "size=4096", "-m", f"uuid={UUID}", "-L", "a_b"),
}
# Marks where blkid looks for them: name of the format, offset, bytes.
ISO9660 = ("iso9660", 32768, b"\x01CD001\x01")
BTRFS = ("btrfs", 65536 + 64, b"_BHRfS_M")
LUKS2_SECOND = ("crypto_LUKS", 16384, b"SKUL\xba\xbe\x00\x02")
MD_AT_THE_END = ("linux_raid_member", SIZE - 65536, b"\xfc\x4e\x2b\xa9" + bytes(4))
UDF = ("udf", 32768, b"\x00BEA01\x01".ljust(2048, b"\0") + b"\x00NSR02\x01".ljust(2048, b"\0"))


def run(*command: str | Path) -> str:
    program, *arguments = map(str, command)
    found = find_program(program)
    assert found
    return subprocess.run(
        [found, *arguments], check=True, capture_output=True, encoding="utf-8"
    ).stdout


def write(disk: Path, offset: int, data: bytes) -> None:
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(data)


def read(disk: Path, offset: int, length: int) -> bytes:
    with open(disk, "rb") as file:
        file.seek(offset)
        return file.read(length)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def made(disk: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        run(*MAKE[name], disk)
        return disk

    return make


def identify(disk: Path) -> signatures.Signature:
    return signatures.identify(Privilege(), str(disk))


def describe(disk: Path) -> tuple[str, str]:
    return signatures.describe(Privilege(), str(disk))


def require(found: signatures.Signature, name: str) -> None:
    """Check that it is the file system that the test has made."""
    label = "a_b" if name.startswith("xfs") else "a b"
    assert (found.type, found.uuid, found.label) == (name.split()[0], UUID, label)


@pytest.mark.parametrize("name", MAKE)
def test_a_plain_file_system_needs_no_remark(made: Callable[[str], Path], name: str) -> None:
    found = identify(made(name))
    require(found, name)
    assert (found.decided, found.errors) == ("", "")


@pytest.mark.parametrize("mark", [ISO9660, BTRFS, LUKS2_SECOND, MD_AT_THE_END, UDF])
@pytest.mark.parametrize("name", ["ext4", "ext4 old", "xfs"])
def test_a_mark_within_the_data_is_ignored_and_told(
    made: Callable[[str], Path], name: str, mark: tuple[str, int, bytes]
) -> None:
    disk = made(name)
    kind, offset, data = mark
    write(disk, offset, data)
    found = identify(disk)
    require(found, name)
    # Some, such as md in XFS, do not disturb blkid.
    if found.decided:
        assert f"{kind} at offset {offset}"[:-1] in found.decided
        assert f"has an {name.split()[0]} at offset" in found.decided
    assert describe(disk)[1] == UUID


def test_every_mark_within_the_data_is_told(made: Callable[[str], Path]) -> None:
    disk = made("xfs")
    for _, offset, data in (ISO9660, BTRFS, LUKS2_SECOND):
        write(disk, offset, data)
    decided = identify(disk).decided
    for told in ("crypto_LUKS at offset 16384", "iso9660 at offset 32769", "btrfs at offset 65600"):
        assert told in decided


def partition(number: int, start: int, sectors: int, active: int = 0) -> tuple[int, bytes]:
    """An entry of a table in the boot sector: where it is, and its bytes."""
    entry = struct.pack("<B3xB3xII", active, 0x83, start, sectors)
    return 446 + 16 * (number - 1), entry


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [partition(1, 0, 0)],
        [partition(2, 0, SIZE // 512)],
        [partition(3, SIZE, 100)],
        [(0, b"\xeb\x58\x90" + b"boot loader" * 30)],
    ],
    ids=["none", "empty", "the disk itself", "outside", "boot loader"],
)
@pytest.mark.parametrize("name", ["ext2", "ext4", "ext4 1k"])
def test_a_boot_sector_without_partitions_is_no_table(
    made: Callable[[str], Path], name: str, entries: list[tuple[int, bytes]]
) -> None:
    disk = made(name)
    write(disk, 510, b"\x55\xaa")
    for offset, entry in entries:
        write(disk, offset, entry)
    found = identify(disk)
    require(found, name)
    assert not found.decided or "dos at offset 510) without partitions" in found.decided


def test_a_table_with_partitions_is_not_ignored(made: Callable[[str], Path]) -> None:
    """Either can be what is used: the table was made later, or is left over."""
    disk = made("ext4")
    write(disk, 510, b"\x55\xaa")
    write(disk, *partition(2, 2048, 100_000))
    with pytest.raises(DiskError) as refused:
        identify(disk)
    for told in ("dos at offset 510", "partition 2 at offset 1048576", "ext4 at offset 1080"):
        assert told in str(refused.value)
    assert "wipefs" in str(refused.value)


def test_two_sound_file_systems_are_refused(made: Callable[[str], Path]) -> None:
    disk = made("ext4")
    kept = read(disk, 1024, 8 * MIB)
    made("xfs 4k")
    # The sectors of this XFS leave room for the superblock of ext4, whose tables are elsewhere.
    write(disk, 1024, kept[:1024])
    with pytest.raises(DiskError, match=r"xfs at offset 0.*ext\d at offset 1080"):
        identify(disk)
    assert "several" in describe(disk)[0]


def _luks1(disk: Path) -> None:
    header = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    header += b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    write(disk, 0, header)
    write(disk, 168, UUID.encode().ljust(40, b"\0"))


def test_luks_over_an_old_file_system_is_refused_by_name(made: Callable[[str], Path]) -> None:
    """luksFormat of some releases leaves the superblock of the ext4 that was there."""
    disk = made("ext4")
    _luks1(disk)
    with pytest.raises(DiskError, match="crypto_LUKS at offset 0"):
        identify(disk)
    assert "crypto_LUKS" in describe(disk)[0]


@pytest.mark.parametrize("name", ["ext4", "xfs"])
def test_raid_over_an_old_file_system_is_refused_by_name(
    made: Callable[[str], Path], name: str
) -> None:
    """The superblock of a RAID at 4096 destroys tables of the file system, not its superblock."""
    disk = made(name)
    superblock = bytearray(4096)
    struct.pack_into("<2I", superblock, 0, 0xA92B4EFC, 1)
    struct.pack_into("<Q", superblock, 144, 8)
    write(disk, 4096, bytes(superblock))
    with pytest.raises(DiskError, match="linux_raid_member"):
        identify(disk)


def test_a_mark_past_the_end_of_the_file_system_counts(disk: Path) -> None:
    """A member of a RAID 1 begins with the file system that it holds."""
    run(*MAKE["ext4"], disk, f"{(SIZE - MIB) // 1024}k")
    write(disk, MD_AT_THE_END[1], MD_AT_THE_END[2])
    with pytest.raises(DiskError, match=f"linux_raid_member.*{MD_AT_THE_END[1]}"):
        identify(disk)


@pytest.mark.parametrize("mark", [ISO9660, BTRFS])
def test_a_file_system_that_is_larger_than_its_device_is_not_sound(
    made: Callable[[str], Path], mark: tuple[str, int, bytes]
) -> None:
    disk = made("xfs")
    write(disk, mark[1], mark[2])
    os.truncate(disk, SIZE - MIB)
    with pytest.raises(DiskError, match="it has 335544320 bytes, and its device 334495744"):
        identify(disk)


@pytest.mark.parametrize(
    ("name", "offset", "data", "told"),
    [
        ("ext4", 1024 + 0x3FC, b"\1\2\3\4", "e2fsck -f"),
        ("ext4", 1024 + 0x28, b"\1\2\3\4", "e2fsck -f"),
        ("ext4 old", 1024 + 0x28, b"\1\2\3\4", "e2fsck -f"),
        ("xfs", 200, bytes(16), "xfs_repair"),
        ("xfs", 224, b"\1\2\3\4", "xfs_repair"),
    ],
)
def test_a_damaged_superblock_is_told(
    made: Callable[[str], Path], name: str, offset: int, data: bytes, told: str
) -> None:
    disk = made(name)
    write(disk, offset, data)
    with pytest.raises(DiskError, match=rf"damaged.*superblock.*'{told}'|superblock.*damaged"):
        identify(disk)


def test_errors_that_the_kernel_has_found_are_told(made: Callable[[str], Path]) -> None:
    disk = made("ext4")
    run("debugfs", "-w", "-R", "set_super_value state 2", disk)
    errors = identify(disk).errors
    assert "has found errors in the ext4" in errors
    assert "e2fsck -f" in errors


def test_an_external_journal_is_refused_by_name(tmp_path: Path, disk: Path) -> None:
    run("mke2fs", "-q", "-F", "-t", "ext4", disk)
    # What mke2fs writes with -J device=, which needs a block device.
    run("tune2fs", "-O", "^has_journal", disk)
    run("debugfs", "-w", "-R", "set_super_value feature_compat 0x3c", disk)
    run("debugfs", "-w", "-R", "set_super_value journal_dev 0x700", disk)
    with pytest.raises(DiskError, match="journal of the volume's ext4 is on another device"):
        identify(disk)


def test_an_external_log_is_refused_by_name(tmp_path: Path, disk: Path) -> None:
    log = tmp_path / "log"
    with open(log, "wb") as file:
        file.truncate(128 * MIB)
    run("mkfs.xfs", "-q", "-f", "-l", f"logdev={log},size=64m", disk)
    with pytest.raises(DiskError, match="log of the volume's xfs is on another device"):
        identify(disk)


def test_a_realtime_device_is_refused_by_name(tmp_path: Path, disk: Path) -> None:
    realtime = tmp_path / "realtime"
    with open(realtime, "wb") as file:
        file.truncate(64 * MIB)
    run("mkfs.xfs", "-q", "-f", "-r", f"rtdev={realtime}", disk)
    with pytest.raises(DiskError, match="realtime device of the volume's xfs is on another device"):
        identify(disk)


@pytest.mark.parametrize("asked", ["noload", "journal_path=/dev/vda", "commit=30,dax", "future"])
def test_foreign_mount_options_are_refused_by_name(made: Callable[[str], Path], asked: str) -> None:
    disk = made("ext4")
    run("tune2fs", "-E", f"mount_opts={asked.split(',')[0]}", disk)
    write(disk, 1024 + 0x200, asked.encode() + b"\0")
    _sign(disk)
    with pytest.raises(DiskError, match=asked.split(",")[-1].split("=")[0]):
        identify(disk)


def _sign(disk: Path) -> None:
    """Let debugfs write the right checksum of the superblock."""
    run("debugfs", "-w", "-n", "-R", "set_super_value kbytes_written 1", disk)


@pytest.mark.parametrize("name", ["swap", "nothing", "table"])
def test_what_is_no_file_system_is_refused_by_name(disk: Path, name: str) -> None:
    if name == "swap":
        run("mkswap", disk)
    elif name == "table":
        write(disk, 510, b"\x55\xaa")
        write(disk, *partition(1, 2048, 100_000))
    told = {"swap": "has 'swap'", "nothing": "is it formatted", "table": r"table \(dos\)"}[name]
    with pytest.raises(DiskError, match=told):
        identify(disk)


def test_content_is_what_blkid_sees_without_judging_it(made: Callable[[str], Path]) -> None:
    disk = made("ext4")
    assert signatures.content(Privilege(), str(disk)) == signatures.Content("ext4", UUID, "a b")


def test_content_that_is_unknown_or_ambiguous_has_no_type(disk: Path) -> None:
    nothing = signatures.Content("", "", "")
    assert signatures.content(Privilege(), str(disk)) == nothing
    run(*MAKE["ext4"], disk)
    write(disk, *BTRFS[1:])
    assert signatures.content(Privilege(), str(disk)) in (
        nothing,
        signatures.Content("ext4", UUID, "a b"),
    )
