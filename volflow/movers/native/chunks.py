"""The chunks of an image, and the map of those of the last backup.

Chunks have a fixed size, so that a change changes only its chunk, and nothing has to be searched
for their ends. A run of zeros as long as :data:`RUN`, and aligned to it, is one blob, which keeps
the tree of a sparse volume small.

The map has the BLAKE3 and SHA-256 of each chunk: BLAKE3 costs a quarter of SHA-256. A file for each
region keeps it. It is bound to the repository, and to the size of the chunks; without it, or if it
is damaged, everything is hashed by SHA-256, and found in the repository all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from volflow.movers.native.blobs import ID
from volflow.movers.native.known import Known

# Bytes of the smallest chunk, and of the largest: two of these and what comes of them are in memory
# for each thread.
LEAST, MOST = 256 * 2**10, 16 * 2**20
# The number of chunks of all images of a backup, up to 4 TiB. Their ids are in one tree.
COUNT = 2**18
# Bytes of a run of zeros that is one blob. restic's blobs have at most 8 MiB unless they are trees.
RUN = 16 * 2**20

_MAGIC = b"volflow chunks 1\n"
_ENTRY = 2 * ID
# What stands for a chunk that is zero, or was not read.
_NONE = bytes(_ENTRY)


def size_for(total: int) -> int:
    """Bytes of the chunks, for images that have so many bytes together."""
    size = LEAST
    while size < MOST and total > size * COUNT:
        size *= 2
    return size


class ChunkMap:
    """The BLAKE3 and SHA-256 of the chunks of an image, by their numbers."""

    def __init__(self, count: int) -> None:
        self._entries = bytearray(count * _ENTRY)

    def get(self, number: int, blake3: bytes) -> bytes | None:
        """The SHA-256 of a chunk, if it had this BLAKE3."""
        place = number * _ENTRY
        if self._entries[place : place + ID] != blake3:
            return None
        return bytes(self._entries[place + ID : place + _ENTRY])

    def set(self, number: int, blake3: bytes, sha256: bytes) -> None:
        """Note a chunk."""
        self._entries[number * _ENTRY : (number + 1) * _ENTRY] = blake3 + sha256

    def clear(self, number: int) -> None:
        """Forget a chunk."""
        self._entries[number * _ENTRY : (number + 1) * _ENTRY] = _NONE

    def ids(self, into: Known) -> None:
        """Add the SHA-256 of all chunks to a set."""
        view = memoryview(self._entries)
        for place in range(ID, len(view), _ENTRY):
            into.add(bytes(view[place : place + ID]))

    def load(self, path: Path, bound: str) -> bool:
        """Fill it from a file; returns whether that is one of this repository and image.

        :param bound: what the map is bound to
        """
        head = _head(bound, len(self._entries))
        try:
            with open(path, "rb") as file:
                found = file.read(len(head) + len(self._entries) + ID + 1)
        except OSError:
            return False
        entries, code = found[len(head) : -ID], found[-ID:]
        if not found.startswith(head) or len(entries) != len(self._entries):
            return False
        if hashlib.sha256(memoryview(found)[:-ID]).digest() != code:
            return False
        self._entries[:] = entries
        return True

    def save(self, path: Path, bound: str) -> None:
        """Write it to a file, whole or not at all.

        :raises OSError: it cannot be written
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        head = _head(bound, len(self._entries))
        digest = hashlib.sha256(head)
        digest.update(self._entries)
        file, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(file, "wb") as opened:
                opened.writelines((head, self._entries, digest.digest()))
                opened.flush()
                os.fsync(opened.fileno())
            os.rename(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _head(bound: str, length: int) -> bytes:
    return _MAGIC + f"{bound} {length}\n".encode()
