"""Packs: files with many blobs.

From restic's design document, "Pack Format": the blobs, then an encrypted header with the type,
lengths and id of each, then the length of the header.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from volflow.movers.native.blobs import BlobKind, Place
from volflow.movers.native.crypto import OVERHEAD, Buffer, Key
from volflow.movers.native.directory import Directory
from volflow.movers.native.memory import Memory

# Bytes of blobs after which a pack is written, as restic does it. It is in memory until then.
FULL = 16 * 2**20
# Bytes after the header: its length, and the rest of the last block.
_MORE = 8192
# The types of blobs in a header, and of compressed ones.
_TYPES: dict[BlobKind, tuple[int, int]] = {BlobKind.DATA: (0, 2), BlobKind.TREE: (1, 3)}


class Pack(NamedTuple):
    """A pack that is in the repository."""

    id: bytes
    kind: BlobKind
    places: tuple[Place, ...]


class Packer:
    """Collects blobs of one kind, and writes them as packs. Not for several threads."""

    def __init__(self, directory: Directory, key: Key, kind: BlobKind) -> None:
        self._directory = directory
        self._key = key
        self._kind = kind
        self._memory = Memory(0)
        self._places: list[Place] = []
        self._size = 0

    def add(self, blob_id: bytes, content: Buffer, plain: int) -> Pack | None:
        """Add a blob; returns the pack if it was full, and is written now.

        :param content: what to encrypt
        :param plain: the bytes of the blob if this is compressed, else 0
        :raises OSError: it cannot be written
        """
        length = self._seal(content)
        self._places.append(Place(blob_id, self._size - length, length, plain))
        return self.flush() if self._size >= FULL else None

    def _seal(self, content: Buffer) -> int:
        needed = self._size + len(content) + OVERHEAD
        if needed + _MORE > len(self._memory.view):
            # A pack becomes longer than it must be by one blob and its header.
            larger = Memory(max(needed, FULL) + len(content) + _MORE)
            larger.view[: self._size] = self._memory.view[: self._size]
            self._memory = larger
        length = self._key.seal_into(content, self._memory.view[self._size :])
        self._size += length
        return length

    def flush(self) -> Pack | None:
        """Write what there is; returns the pack, if there was anything.

        :raises OSError: it cannot be written
        """
        if not self._places:
            return None
        length = self._seal(b"".join(map(self._entry, self._places)))
        self._memory.view[self._size : self._size + 4] = struct.pack("<I", length)
        name = self._directory.write_pack(self._memory, self._size + 4)
        pack = Pack(bytes.fromhex(name), self._kind, tuple(self._places))
        self._places, self._size = [], 0
        return pack

    def _entry(self, place: Place) -> bytes:
        plain, compressed = _TYPES[self._kind]
        if place.plain:
            return struct.pack("<BII32s", compressed, place.length, place.plain, place.id)
        return struct.pack("<BI32s", plain, place.length, place.id)
