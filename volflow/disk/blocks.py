"""Makes a block device equal to the beginning of another.

Only blocks that differ are written, zeros too: so a thin volume stays thin.

This file runs as a program of its own, as root, with nothing but the standard library:
``blocks.py SOURCE TARGET SIZE``. It prints the number of bytes that it has written.
"""

from __future__ import annotations

import errno
import os
import runpy

_BLOCK = 1024**2


def make_equal(source: str, target: str, size: int) -> int:
    """Make the first bytes of the target those of the source; they are durable when it returns.

    :param size: the number of bytes
    :returns: the number of bytes that differed, rounded up to blocks
    :raises OSError: one of the devices is too small, or fails
    """
    written = 0
    at = source
    read = os.open(source, os.O_RDONLY)
    try:
        write = os.open(target, os.O_RDWR)
        try:
            for offset in range(0, size, _BLOCK):
                count = min(_BLOCK, size - offset)
                at = source
                wanted = _read(read, count, offset)
                at = target
                if _read(write, count, offset) != wanted:
                    _write(write, wanted, offset)
                    written += count
            os.fsync(write)
        finally:
            os.close(write)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, reason, at) from error
    finally:
        os.close(read)
    return written


def _read(descriptor: int, count: int, offset: int) -> bytes:
    found = b""
    while len(found) < count:
        more = os.pread(descriptor, count - len(found), offset + len(found))
        if not more:
            raise OSError(f"the device ends at byte {offset + len(found)}")
        found += more
    return found


def _write(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(descriptor, view, offset)
        view, offset = view[done:], offset + done


def main(source: str, target: str, size: str) -> None:
    """Make the target equal, and print the number of bytes that were written."""
    print(make_equal(source, target, int(size)))


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
