"""Reads the headers of a GPT, which say where its two copies are.

sfdisk tells the partitions, but not whether the table at the beginning is sound or where the backup
is. The layout is that of the UEFI specification, chapter "GUID Partition Table Disk Layout".

This file runs as a program of its own, as root, with nothing but the standard library:
``gpt.py DEVICE`` prints what it has found as JSON, see :func:`read`. It reads a few blocks, and
writes nothing.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import runpy
import stat
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

# linux/fs.h: BLKSSZGET. Sizes of a sector that a table can have been made for.
_GET_SECTOR = 0x1268
SECTORS = (512, 4096)
_HEADER = struct.Struct("<8s 4I 4Q 16s Q 3I")
_MARK = b"EFI PART"
# Bytes of the entries. Usual are 16 KiB.
_MOST = 4 * 2**20


@dataclass(frozen=True)
class Copy:
    """One of the two copies of a GPT: a header and the entries.

    :ivar sector: bytes of a sector, as the place of the header tells
    :ivar sound: whether the checksums of the header and of the entries are right
    :ivar entries: where the entries begin, in bytes from the beginning of the device
    :ivar length: bytes of the entries
    :ivar other: where the header of the other copy is, in bytes
    :ivar last: where the last usable sector ends, in bytes
    """

    sector: int
    sound: bool
    entries: int
    length: int
    other: int
    last: int


def read(device: str) -> dict[str, Any]:
    """What is known of a device and its GPT.

    :returns: ``size`` and ``sector`` of the device in bytes; ``primary`` and ``backup``, the fields
        of each copy of the GPT, or None where there is no header. The primary is looked for where
        it is with sectors of any size; the backup at the end of the device if there is no sound
        primary that names its place.
    :raises OSError: the device cannot be read
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        sector = _sector(descriptor)
        os.pread(descriptor, 4096, 0)
        found = [_copy(descriptor, each, each, size) for each in (sector, *SECTORS)]
        primary = next((each for each in found if each and each.sound), None)
        primary = primary or next((each for each in found if each), None)
        if primary and primary.sound:
            backup = _copy(descriptor, primary.other, primary.sector, size)
        else:
            backup = _copy(descriptor, size - sector, sector, size)
        copies = {"primary": primary, "backup": backup}
        return {
            "size": size,
            "sector": sector,
            **{name: each and asdict(each) for name, each in copies.items()},
        }
    finally:
        os.close(descriptor)


def _sector(descriptor: int) -> int:
    """Bytes of a sector of the device."""
    if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
        return 512
    value = bytearray(4)
    fcntl.ioctl(descriptor, _GET_SECTOR, value)
    return int(struct.unpack("=I", value)[0])


def _copy(descriptor: int, at: int, sector: int, size: int) -> Copy | None:
    """The copy of the GPT with its header here; None if there is none."""
    block = _read(descriptor, at, sector, size)
    mark, _, length, checksum, _, here, other, _, last, _, entries, count, each, sum_of_entries = (
        _HEADER.unpack_from(block.ljust(_HEADER.size, b"\0"))
    )
    if mark != _MARK:
        return None
    sound = _HEADER.size <= length <= sector and here * sector == at
    sound = sound and zlib.crc32(block[:16] + bytes(4) + block[20:length]) == checksum
    sound = sound and 0 < count * each <= _MOST and each % 128 == 0
    if sound:
        table = _read(descriptor, entries * sector, count * each, size)
        sound = len(table) == count * each and zlib.crc32(table) == sum_of_entries
    return Copy(
        sector=sector,
        sound=sound,
        entries=entries * sector,
        length=count * each,
        other=other * sector,
        last=(last + 1) * sector,
    )


def _read(descriptor: int, offset: int, length: int, size: int) -> bytes:
    """These bytes; fewer at the end of the device, none where it cannot be read."""
    if not 0 <= offset < size:
        return b""
    try:
        return os.pread(descriptor, length, offset)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        # Another part of the device may be sound, and only the copy needs to be read whole.
        return b""


def main(device: str) -> None:
    """Print what is known of the device."""
    try:
        print(json.dumps(read(device)))
    except OSError as error:
        raise OSError(error.errno, error.strerror, device) from error


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
