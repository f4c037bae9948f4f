"""Packs: files with many blobs.

From restic's design document, "Pack Format": the blobs, then an encrypted header with the type,
lengths and id of each, then the length of the header.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from volflow.movers.native.blobs import BlobKind, Place, Sealed
from volflow.movers.native.crypto import Buffer, Key
from volflow.movers.native.directory import Directory, Kind

# Bytes of blobs after which a pack is written, as restic does it. It is in memory until then.
FULL = 16 * 2**20
# The types of blobs in a header, and of compressed ones.
_TYPES = {BlobKind.DATA: (0, 2), BlobKind.TREE: (1, 3)}


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
        self._clear()

    def _clear(self) -> None:
        self._parts: list[Buffer] = []
        self._places: list[Place] = []
        self._size = 0

    def add(self, blob: Sealed) -> Pack | None:
        """Add a blob; returns the pack if it was full, and is written now.

        :raises OSError: it cannot be written
        """
        self._places.append(Place(blob.id, self._size, blob.length, blob.plain))
        self._parts += blob.parts
        self._size += blob.length
        return self.flush() if self._size >= FULL else None

    def flush(self) -> Pack | None:
        """Write what there is; returns the pack, if there was anything.

        :raises OSError: it cannot be written
        """
        if not self._places:
            return None
        header = self._key.seal(b"".join(map(self._entry, self._places)))
        length = struct.pack("<I", sum(map(len, header)))
        name = self._directory.write(Kind.PACK, [*self._parts, *header, length])
        pack = Pack(bytes.fromhex(name), self._kind, tuple(self._places))
        self._clear()
        return pack

    def _entry(self, place: Place) -> bytes:
        plain, compressed = _TYPES[self._kind]
        if place.plain:
            return struct.pack("<BII32s", compressed, place.length, place.plain, place.id)
        return struct.pack("<BI32s", plain, place.length, place.id)
