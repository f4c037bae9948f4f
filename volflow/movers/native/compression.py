"""zstd, with a limit for whatever comes out."""

from __future__ import annotations

import threading

import zstandard

from volflow.movers.native.crypto import Buffer, DamagedError

# The default of zstd, and about what restic uses.
LEVEL = 3

_local = threading.local()


def compress(text: Buffer, level: int = LEVEL) -> bytes:
    """One frame with its size. Each thread has its own compressor."""
    compressors: dict[int, zstandard.ZstdCompressor] = _local.__dict__.setdefault("by_level", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressors[level].compress(text)


def decompress(packed: Buffer, most: int, what: str) -> bytes:
    """The content of a frame.

    A frame can claim any size and can contain any amount.

    :param most: bytes that it may have
    :param what: what it is, for the error
    :raises DamagedError: it is no frame, or has more bytes
    """
    try:
        size = zstandard.frame_content_size(packed)
        if size > most:
            raise DamagedError(f"{what} in the repository has {size:,} bytes, more than {most:,}.")
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            text = reader.read(size if size >= 0 else most + 1)
            if len(text) < size:
                raise DamagedError(f"{what} in the repository is cut off.")
            if len(text) > most or reader.read(1):
                raise DamagedError(f"{what} in the repository has more than {most:,} bytes.")
    except zstandard.ZstdError as error:
        raise DamagedError(f"{what} in the repository cannot be decompressed: {error}.") from error
    return text
