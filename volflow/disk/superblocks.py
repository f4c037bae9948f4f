"""Reads the superblocks of ext2, ext3, ext4 and XFS, and the partition table of a boot sector.

This file runs as a program of its own, as root, with nothing but the standard library:
``superblocks.py DEVICE`` prints what it has found as JSON, see :func:`read`. It reads a few blocks,
and writes nothing. The layouts are those of the Linux kernel: Documentation/filesystems/ext4 and
fs/xfs/libxfs/xfs_format.h.
"""

from __future__ import annotations

import json
import os
import runpy
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Where blkid and wipefs see the mark of each.
EXT_MARK, XFS_MARK = 1080, 0
_EXT_SUPERBLOCK, _EXT_LENGTH = 1024, 1024
_JOURNAL_DEVICE, _64BIT = 0x8, 0x80
_HAS_JOURNAL, _METADATA_CSUM = 0x4, 0x400
_WITH_ERRORS = 0x2
_DIRECTORY, _KIND = 0x4000, 0xF000
_SECTOR = 512


@dataclass(frozen=True)
class Superblock:
    """A superblock in its usual place.

    :ivar family: ``ext`` or ``xfs``
    :ivar mark: where its mark is, in bytes from the beginning of the device
    :ivar end: where the superblock ends, in bytes
    :ivar size: of the file system, in bytes
    :ivar damage: what is wrong with the superblock itself; empty if it is whole
    :ivar doubt: what else does not fit, so that it may be left over from an earlier file system
    :ivar errors: whether the kernel has found errors in the file system
    :ivar external: the parts of the file system that are on other devices
    :ivar mount_options: the options that it asks the kernel for, as text; ext only
    """

    family: str
    mark: int
    end: int
    size: int
    damage: str = ""
    doubt: str = ""
    errors: bool = False
    external: Sequence[str] = ()
    mount_options: str = ""


@dataclass(frozen=True)
class Partition:
    """An entry of a partition table.

    :ivar number: from 1 to 4
    :ivar kind: the type in the table
    :ivar start: in bytes
    :ivar size: in bytes
    """

    number: int
    kind: int
    start: int
    size: int


def read(device: str) -> dict[str, Any]:
    """The superblocks and partitions of a device.

    :returns: ``superblocks`` and ``partitions``, each a list of the fields of its class
    :raises OSError: the device cannot be read
    """
    with _Device(device) as disk:
        found = [each for each in (_ext(disk), _xfs(disk)) if each]
        return {
            "superblocks": [asdict(each) for each in found],
            "partitions": [asdict(each) for each in _partitions(disk)],
        }


class _Device:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """These bytes; zeros past the end."""
        data = os.pread(self._fd, length, offset) if 0 <= offset < self.size else b""
        return data.ljust(length, b"\0")


def _ext(disk: _Device) -> Superblock | None:
    block = disk.read(_EXT_SUPERBLOCK, _EXT_LENGTH)
    field = _Fields(block, "<")
    if field.u16(0x38) != 0xEF53 or field.u32(0x60) & _JOURNAL_DEVICE:
        return None
    blocks, unit = field.u32(0x04), 1024 << min(field.u32(0x18), 63)
    if field.u32(0x60) & _64BIT:
        blocks |= field.u32(0x150) << 32
    journal = field.u32(0x5C) & _HAS_JOURNAL
    return Superblock(
        "ext",
        mark=EXT_MARK,
        end=_EXT_SUPERBLOCK + _EXT_LENGTH,
        size=blocks * unit,
        damage=_ext_damage(disk, block, blocks, unit),
        doubt=_ext_doubt(disk, field, unit),
        errors=bool(field.u16(0x3A) & _WITH_ERRORS),
        external=("journal",) if journal and not field.u32(0xE0) else (),
        mount_options=block[0x200:0x240].split(b"\0")[0].decode("utf-8", errors="replace"),
    )


def _ext_damage(disk: _Device, block: bytes, blocks: int, unit: int) -> str:
    field = _Fields(block, "<")
    checked = field.u32(0x64) & _METADATA_CSUM and block[0x175] == 1
    if checked and crc32c(block[:0x3FC]) ^ 0xFFFFFFFF != field.u32(0x3FC):
        return "the checksum of its superblock is wrong"
    group, inodes = field.u32(0x20), field.u32(0x28)
    if unit > 65536 or not group or not inodes or field.u16(0x5A):
        return "its superblock makes no sense"
    first = field.u32(0x14)
    groups = -(-(blocks - first) // group)
    if blocks <= first or groups * inodes != field.u32(0x00):
        return "the sizes in its superblock contradict each other"
    return _too_large(disk, blocks * unit)


def _ext_doubt(disk: _Device, field: _Fields, unit: int) -> str:
    if unit > 65536:
        return ""
    # The descriptors of the groups are in the block after that of the superblock.
    at = (_EXT_SUPERBLOCK // unit + 1) * unit
    group = _Fields(disk.read(at, 64), "<")
    table = group.u32(0x08)
    if field.u32(0x60) & _64BIT and field.u16(0xFE) >= 64:
        table |= group.u32(0x28) << 32
    size = field.u16(0x58) if field.u32(0x4C) else 128
    root = _Fields(disk.read(table * unit + size, 128), "<")
    if root.u16(0) & _KIND != _DIRECTORY or not root.u16(0x1A):
        return "its root directory is not where it should be"
    return ""


def _xfs(disk: _Device) -> Superblock | None:
    block = disk.read(0, 512)
    field = _Fields(block, ">")
    if block[:4] != b"XFSB":
        return None
    unit, blocks, sector = field.u32(4), field.u64(8), field.u16(102)
    external = [] if field.u64(48) else ["log"]
    if field.u64(16):
        external.append("realtime device")
    return Superblock(
        "xfs",
        mark=XFS_MARK,
        end=max(512, sector),
        size=blocks * unit,
        damage=_xfs_damage(disk, field),
        doubt=_xfs_doubt(disk, field),
        external=tuple(external),
    )


def _xfs_damage(disk: _Device, field: _Fields) -> str:
    unit, blocks, sector = field.u32(4), field.u64(8), field.u16(102)
    if sector not in (512, 1024, 2048, 4096, 8192, 16384, 32768):
        return "its superblock makes no sense"
    whole = disk.read(0, sector)
    if field.u16(100) & 0xF == 5:
        (stored,) = struct.unpack_from("<I", whole, 224)
        if crc32c(whole[:224] + bytes(4) + whole[228:]) != stored:
            return "the checksum of its superblock is wrong"
    groups, each = field.u32(88), field.u32(84)
    if unit not in [512 << n for n in range(8)] or not groups or whole[126]:
        return "its superblock makes no sense"
    if not (groups - 1) * each < blocks <= groups * each:
        return "the sizes in its superblock contradict each other"
    return _too_large(disk, blocks * unit)


def _xfs_doubt(disk: _Device, field: _Fields) -> str:
    unit, sector = field.u32(4), field.u16(102)
    if disk.read(sector, 4) != b"XAGF" or disk.read(2 * sector, 4) != b"XAGI":
        return "its first allocation group has no headers"
    free = _Fields(disk.read(sector, 64), ">").u32(16)
    if disk.read(free * unit, 4) not in (b"ABTB", b"AB3B"):
        return "its list of free space is not where it should be"
    # The number of an inode is that of its block in the group, and its place in the block.
    place = field.u64(56) & ((1 << (field.u8(124) + field.u8(123))) - 1)
    root = _Fields(disk.read(place * field.u16(104), 8), ">")
    if root.u16(0) != 0x494E or root.u16(2) & _KIND != _DIRECTORY:
        return "its root directory is not where it should be"
    return ""


def _too_large(disk: _Device, size: int) -> str:
    return f"it has {size} bytes, and its device {disk.size}" if size > disk.size else ""


def _partitions(disk: _Device) -> list[Partition]:
    """The entries of the partition table in the boot sector that name a part of the device.

    A boot sector that a boot loader has written has the mark of a table too: then the entries are
    empty, or are parts of the program.
    """
    sector = disk.read(0, _SECTOR)
    entries = [struct.unpack_from("<B3xB3xII", sector, 446 + 16 * n) for n in range(4)]
    if sector[510:] != b"\x55\xaa" or any(active & 0x7F for active, *_ in entries):
        return []
    return [
        Partition(number, kind, start * _SECTOR, sectors * _SECTOR)
        for number, (_, kind, start, sectors) in enumerate(entries, 1)
        if kind and sectors and 0 < start * _SECTOR < disk.size
    ]


class _Fields:
    """Numbers in a structure.

    :param order: ``<`` if the lowest byte comes first, ``>`` if it comes last
    """

    def __init__(self, data: bytes, order: str) -> None:
        self._data, self._order = data, order

    def u8(self, offset: int) -> int:
        return self._data[offset]

    def u16(self, offset: int) -> int:
        return self._read("H", offset)

    def u32(self, offset: int) -> int:
        return self._read("I", offset)

    def u64(self, offset: int) -> int:
        return self._read("Q", offset)

    def _read(self, form: str, offset: int) -> int:
        found: int = struct.unpack_from(f"{self._order}{form}", self._data, offset)[0]
        return found


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of some bytes. The standard library has only CRC-32."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def main(device: str) -> None:
    """Print what is on the device."""
    try:
        print(json.dumps(read(device)))
    except OSError as error:
        raise OSError(error.errno, error.strerror, device) from error


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
