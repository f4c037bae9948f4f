"""Blobs: pieces of data and trees, named by the SHA-256 of their content."""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import NamedTuple

from volflow.movers.native.compression import compress, decompress
from volflow.movers.native.crypto import OVERHEAD, Buffer, DamagedError, Key

# Bytes of an id.
ID = 32
# Bytes of the largest blob of data that is read, and of the largest tree. restic's own blobs of
# data have at most 8 MiB.
MOST, MOST_OF_TREE = 64 * 2**20, 256 * 2**20


class BlobKind(Enum):
    """What a blob is; its value is the name in an index."""

    DATA = "data"
    TREE = "tree"


class Place(NamedTuple):
    """Where a blob is in its pack.

    :ivar id: the SHA-256 of its content
    :ivar length: bytes in the pack
    :ivar plain: bytes of the content, if it is compressed; else 0
    """

    id: bytes
    offset: int
    length: int
    plain: int

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self.plain or self.length - OVERHEAD


def id_of(content: Buffer) -> bytes:
    """The id of a blob with this content."""
    return hashlib.sha256(content).digest()


def pack(content: Buffer) -> tuple[Buffer, int]:
    """Compress a blob.

    :returns: what to encrypt, and the bytes of the content if it is compressed, else 0: what does
        not become smaller is not compressed
    """
    packed = compress(content)
    return (packed, len(content)) if len(packed) < len(content) else (content, 0)


def unseal(key: Key, place: Place, sealed: Buffer) -> bytes:
    """The content of a blob.

    :param sealed: what is at its place in the pack
    :raises DamagedError: it is not what was stored
    """
    what = f"Blob {place.id.hex()[:8]}"
    content = key.open(sealed, what)
    if place.plain:
        content = decompress(content, place.plain, what)
    if len(content) != place.size or id_of(content) != place.id:
        raise DamagedError(
            f"{what} in the repository is not what was stored: its SHA-256 is another. 'restic "
            "check --read-data' tells what else is damaged."
        )
    return content
