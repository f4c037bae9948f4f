"""Where the boot code at the beginning of a disk finds the rest of itself.

GRUB writes its core image behind the boot sector where there is room, and else leaves it in a file
system, and the numbers of its blocks in the boot code. Such a file system has to be an image: as
files, its blocks would be elsewhere after a restore.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from volflow.disk import boot_sector
from volflow.disk.layout import Layout, Role
from volflow.host.privilege import Privilege

# The boot code ends where the partition table begins.
_CODE, _SECTOR = 440, 512
_LILO = b"LILO"
_GRUB = b"GRUB "
# grub-core/boot/i386/pc/boot.S: the sector of what it loads. GRUB Legacy, stage1/stage1.S: its
# version, and the sector.
_SECTOR_AT, _HIGHEST = 0x5C, 2**50
_LEGACY_VERSION, _LEGACY_AT, _LEGACY_MAJOR = 0x3E, 0x44, 3
# Both: lists of blocks grow down from the end of the first sector that is loaded.
_LIST, _LEGACY_LIST = struct.Struct("<QHH"), struct.Struct("<IHH")
_STORED = (Role.PARTITION, Role.VOLUME)


def why_images(privilege: Privilege, device: str, layout: Layout) -> dict[int, str]:
    """Why parts of a disk must be images, because its boot code reads them by block numbers.

    :returns: the reason, by the place of the part in the layout
    :raises HostError: the device cannot be read
    """
    if not layout.table:
        return {}
    sector = boot_sector.read_at(privilege, device, 0, _SECTOR)
    code = sector[:_CODE]
    if _LILO in code:
        name, ranges = "LILO", [(0, layout.size)]
    elif _GRUB in code:
        name, ranges = "GRUB", _grub(privilege, device, sector)
    else:
        return {}
    return {
        number: f"the boot code of the disk is {name}, which reads blocks of it by their numbers"
        for number, part in enumerate(layout.parts)
        if part.role in _STORED
        and any(start < part.end and part.start < end for start, end in ranges)
    }


def _grub(privilege: Privilege, device: str, sector: bytes) -> list[tuple[int, int]]:
    """The bytes that GRUB loads: the first and the one after the last of each range."""
    found = []
    for place, form in _starts(sector):
        found.append((place * _SECTOR, (place + 1) * _SECTOR))
        loaded = boot_sector.read_at(privilege, device, place * _SECTOR, _SECTOR)
        at = _SECTOR - form.size
        while len(loaded) == _SECTOR and at >= 0:
            start, count, _ = form.unpack_from(loaded, at)
            if not count:
                break
            found.append((start * _SECTOR, (start + count) * _SECTOR))
            at -= form.size
    return found


def _starts(sector: bytes) -> Iterator[tuple[int, struct.Struct]]:
    """The first sector that is loaded, and the form of the list in it.

    Where GRUB 2 keeps what others need, GRUB Legacy may have left its version: then it may be both.
    """
    (first,) = struct.unpack_from("<Q", sector, _SECTOR_AT)
    if first <= _HIGHEST:
        yield first, _LIST
    if sector[_LEGACY_VERSION] == _LEGACY_MAJOR:
        yield struct.unpack_from("<I", sector, _LEGACY_AT)[0], _LEGACY_LIST
