"""Every byte of a volume, in one digest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_BLOCK = 4096
_NOTHING = bytes(_BLOCK)


def digest(file: Path) -> str:
    """A digest of a file's content, in which holes count as the zeros that they read as."""
    found = hashlib.blake2b()
    with open(file, "rb", buffering=0) as source:
        size, position = os.fstat(source.fileno()).st_size, 0
        while position < size:
            try:
                position = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:
                break  # only a hole is left
            end = os.lseek(source.fileno(), position, os.SEEK_HOLE)
            position -= position % _BLOCK
            while position < end:
                block = os.pread(source.fileno(), _BLOCK, position)
                if block != _NOTHING[: len(block)]:
                    found.update(position.to_bytes(8, "little") + block)
                position += _BLOCK
    return found.hexdigest()
