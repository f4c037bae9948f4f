"""Reads the header of an LVM physical volume and the metadata that it holds.

The layout is that of LVM2: lib/label/label.h and lib/format_text/layout.h.

This file runs as a program of its own, as root, with nothing but the standard library:
``lvm_areas.py DEVICE START SIZE`` prints what it has found in this range of the device as JSON, see
:func:`read`. It reads the header and the metadata, and writes nothing.
"""

from __future__ import annotations

import json
import os
import runpy
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any

_SECTOR = 512
# The label is in one of the first sectors.
_LABELS = 4
_LABEL = struct.Struct("<8s Q I I 8s")
_AREA = struct.Struct("<QQ")
_HEADER = struct.Struct("<I 16s I Q Q")
_LOCATION = struct.Struct("<Q Q I I")
_MAGIC = b" LVM2 x[5A%r0N*>"
# Areas of each kind, and bytes of the metadata of a volume group.
_AREAS, _MOST = 16, 4 * 2**20
_IGNORED = 1


@dataclass(frozen=True)
class Text:
    """The metadata of a volume group, as an area holds it.

    :ivar text: empty if there is none
    :ivar damage: what is wrong with it; empty if it is whole
    """

    text: str
    damage: str = ""


class _Range:
    def __init__(self, path: str, start: int, size: int) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._start, self.size = start, size

    def __enter__(self) -> _Range:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """These bytes; fewer at the end, none beyond it."""
        length = min(length, self.size - offset)
        return os.pread(self._fd, length, self._start + offset) if offset >= 0 < length else b""


def read(device: str, start: int, size: int) -> dict[str, Any]:
    """What is known of a physical volume.

    :param start: its first byte
    :param size: its bytes
    :returns: ``id`` of the physical volume, empty if there is none; ``areas``, the offset and
        length of each area that holds metadata; ``texts``, the fields of each :class:`Text`
    :raises OSError: the device cannot be read
    """
    with _Range(device, start, size) as disk:
        found = _label(disk)
        if not found:
            return {"id": "", "areas": [], "texts": []}
        name, areas = found
        texts = [each for each in (_text(disk, *area) for area in areas) if each]
        return {"id": name, "areas": areas, "texts": [asdict(each) for each in texts]}


def _label(disk: _Range) -> tuple[str, list[tuple[int, int]]] | None:
    """The id of the physical volume, and its areas for metadata."""
    for number in range(_LABELS):
        block = disk.read(number * _SECTOR, _SECTOR)
        if len(block) < _SECTOR:
            break
        mark, sector, checksum, offset, kind = _LABEL.unpack_from(block)
        sound = mark == b"LABELONE" and kind == b"LVM2 001" and sector == number
        if not sound or crc(block[20:]) != checksum or not _LABEL.size <= offset <= 256:
            continue
        # The areas for data come first. Each list ends with an empty area.
        lists: list[list[tuple[int, int]]] = []
        at = offset + 32 + 8
        for _ in range(2):
            lists.append([])
            while at + _AREA.size <= _SECTOR and len(lists[-1]) < _AREAS:
                place, length = _AREA.unpack_from(block, at)
                at += _AREA.size
                if not place:
                    break
                lists[-1].append((place, length))
        return block[offset : offset + 32].decode("ascii", errors="replace"), lists[1]
    return None


def _text(disk: _Range, start: int, size: int) -> Text | None:
    """The metadata in an area; None if the area holds none, and is not used."""
    header = disk.read(start, _SECTOR)
    if len(header) < _SECTOR or crc(header[4:]) != int.from_bytes(header[:4], "little"):
        return Text("", "the checksum of a metadata area is wrong")
    _, magic, version, place, length = _HEADER.unpack_from(header)
    if (magic, version, place, length) != (_MAGIC, 1, start, size) or size <= _SECTOR:
        return Text("", "the header of a metadata area makes no sense")
    # The first location is that of the metadata in use. The next one is about to be.
    offset, count, checksum, flags = _LOCATION.unpack_from(header, _HEADER.size)
    if not offset or flags & _IGNORED:
        return None
    if not _SECTOR <= offset < size or not 0 < count <= min(_MOST, size - _SECTOR):
        return Text("", "the place of the metadata makes no sense")
    # The area is a ring behind its header.
    data = disk.read(start + offset, min(count, size - offset))
    data += disk.read(start + _SECTOR, count - len(data)) if len(data) < count else b""
    if crc(data) != checksum:
        return Text("", "the checksum of the metadata is wrong")
    return Text(data.rstrip(b"\0").decode("utf-8", errors="replace"))


def crc(data: bytes) -> int:
    """The checksum of LVM: a CRC-32 with another beginning and no inversion at the end."""
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def main(device: str, start: str, size: str) -> None:
    """Print what is known of the physical volume."""
    try:
        print(json.dumps(read(device, int(start), int(size))))
    except OSError as error:
        raise OSError(error.errno, error.strerror, device) from error


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
