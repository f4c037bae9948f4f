"""Memory that a device or a file can be read to, and written from, past the page cache."""

from __future__ import annotations

import ctypes
import mmap

# What every device and file system takes: offsets, lengths and memory are multiples of this.
ALIGNED = 4096
# mallopt(3): memory of this size is kept for the next use, and not given back to the kernel, which
# clears every page that it hands out.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _KEPT = -1, -3, 32 * 2**20

_libc = ctypes.CDLL(None)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


def up(size: int) -> int:
    """The next multiple of what is aligned."""
    return -(-size // ALIGNED) * ALIGNED


def keep() -> None:
    """Let this process keep memory that it no longer uses, for the next chunk."""
    if mallopt := getattr(_libc, "mallopt", None):  # not every C library has it
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, 2 * _KEPT)


class Memory:
    """Aligned memory for reads and writes.

    :ivar view: all of it
    """

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, max(up(size), ALIGNED))
        self.view = memoryview(self._map)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def is_zero(self, start: int, size: int) -> bool:
        """Whether a part of it is zero."""
        # The first byte is, and each byte is what the one before it is.
        address = self._address + start
        return not self.view[start] and not _libc.memcmp(address, address + 1, size - 1)

    def is_equal(self, start: int, content: bytes) -> bool:
        """Whether a part of it has this content."""
        return not _libc.memcmp(self._address + start, content, len(content))
