"""A digest of every byte of a volume, and changes to a volume without volflow."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from tests.support.cloud import run

_BLOCK = 4096
_NOTHING = bytes(_BLOCK)
# The changed files: one that exists and one that does not, both in the root directory.
TEXT, ADDED = "text", "added"


def digest(file: Path) -> str:
    """A digest of a file's content, in which holes count as the zeros that they read as."""
    found = hashlib.blake2b()
    with open(file, "rb", buffering=0) as source:
        size, position = os.fstat(source.fileno()).st_size, 0
        while position < size:
            try:
                position = os.lseek(source.fileno(), position, os.SEEK_DATA)
            except OSError:
                break  # only a hole remains
            end = os.lseek(source.fileno(), position, os.SEEK_HOLE)
            position -= position % _BLOCK
            while position < end:
                block = os.pread(source.fileno(), _BLOCK, position)
                if block != _NOTHING[: len(block)]:
                    found.update(position.to_bytes(8, "little") + block)
                position += _BLOCK
    return found.hexdigest()


def change(file: Path, mark: str) -> None:
    """Change files in the ext4 file system of a volume that is not in use.

    :param mark: text for the files, so that each change differs
    """
    before = digest(file)
    with tempfile.TemporaryDirectory() as name:
        fresh, orders = Path(name) / "fresh", Path(name) / "orders"
        fresh.write_text(f"{mark}\n" * 500)
        # The file to be written must not exist.
        lines = (f"rm {path}\nwrite {fresh} {path}\n" for path in (TEXT, ADDED))
        orders.write_text("".join(lines))
        run("debugfs", "-w", "-f", str(orders), str(file))
    # debugfs reports success even when it fails.
    assert digest(file) != before, f"{file} could not be changed"
