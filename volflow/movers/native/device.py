"""Reads and writes a range of a block device, or of a file, past the page cache (O_DIRECT).

Buffered reads of a loop device cost two to three times the processor time. Where O_DIRECT is
refused, for a range that is not aligned or by a file system, the page cache is used.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from volflow.errors import HostError
from volflow.movers.native.memory import ALIGNED, Memory, up

# Bytes of one read or write.
PIECE = 2**20
# fallocate(2).
_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16
_REFUSED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ENODEV)

# What the kernel says if a storage has lost something.
_UNREADABLE = (errno.EIO, errno.EREMOTEIO, errno.ENODATA, errno.EILSEQ)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class UnreadableError(HostError):
    """The storage of a device does not give back what is in a place of it."""


class Device:
    """A range of a device or file.

    :param path: the device
    :param start: where the range begins in it, in bytes
    :param size: bytes of the range
    """

    def __init__(self, path: Path, start: int, size: int, *, write: bool = False) -> None:
        self._path = path
        self._start = start
        self.size = size
        self._flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        self._direct = self._buffered = -1
        self._is_file = False
        self._punches = [_PUNCH_HOLE | _KEEP_SIZE, _ZERO_RANGE | _KEEP_SIZE]

    @contextmanager
    def opened(self) -> Iterator[Device]:
        """Open it while the block runs.

        :raises HostError: it cannot be opened, or is shorter than the range
        """
        try:
            self._buffered = os.open(self._path, self._flags)
            try:
                self._direct = os.open(self._path, self._flags | os.O_DIRECT)
            except OSError as error:
                if error.errno not in _REFUSED:
                    raise
        except OSError as error:
            raise self._failed("opened", 0, error) from error
        try:
            end = os.lseek(self._buffered, 0, os.SEEK_END)
            self._is_file = stat.S_ISREG(os.fstat(self._buffered).st_mode)
            if self._start < 0 or self.size < 0 or self._start + self.size > end:
                raise HostError(
                    f"{self._path} has {end:,} bytes, and not {self._start + self.size:,} as is "
                    "expected."
                )
            yield self
        finally:
            for file in (self._direct, self._buffered):
                if file >= 0:
                    os.close(file)
            self._direct = self._buffered = -1

    def is_hole(self, offset: int, size: int) -> bool:
        """Whether a part of the range is known to be zero without a read: of a file only."""
        if not self._is_file or not size:
            return False
        place = self._start + offset
        try:
            return os.lseek(self._buffered, place, os.SEEK_DATA) >= place + size
        except OSError as error:
            # Nothing follows. Whatever else it is, a read will tell.
            return error.errno == errno.ENXIO

    def read(self, offset: int, size: int, memory: Memory) -> None:
        """Read a part of the range to the beginning of the memory.

        :raises UnreadableError: the storage cannot read it
        :raises HostError: it cannot be read
        """
        self._check(offset, size)
        done = 0
        while done < size:
            try:
                got = self._read(offset + done, memory.view[done:], size - done)
            except OSError as error:
                failed = self._failed("read", offset + done, error)
                if error.errno in _UNREADABLE:
                    raise UnreadableError(str(failed)) from error
                raise failed from error
            if not got:
                raise HostError(f"{self._path} ends at byte {self._start + offset + done:,}.")
            done += got

    def _read(self, offset: int, view: memoryview, size: int) -> int:
        place = self._start + offset
        if self._direct >= 0 and place % ALIGNED == 0:
            try:
                # What follows the range in the same block is read, and not used.
                return min(size, os.preadv(self._direct, [view[: up(size)]], place))
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return os.preadv(self._buffered, [view[:size]], place)

    def write(self, offset: int, size: int, memory: Memory) -> None:
        """Write the beginning of the memory to a part of the range.

        :raises HostError: it cannot be written
        """
        self._check(offset, size)
        done = 0
        while done < size:
            try:
                done += self._write(offset + done, memory.view[done:size])
            except OSError as error:
                raise self._failed("written", offset + done, error) from error

    def _write(self, offset: int, view: memoryview) -> int:
        place, whole = self._start + offset, len(view) // ALIGNED * ALIGNED
        if self._direct >= 0 and whole and place % ALIGNED == 0:
            try:
                return os.pwritev(self._direct, [view[:whole]], place)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        return os.pwritev(self._buffered, [view], place)

    def zero(self, offset: int, size: int, zeros: Memory) -> None:
        """Make a part of the range zero, and give its space back where that is possible.

        :param zeros: memory that is zero
        :raises HostError: it cannot be written
        """
        self._check(offset, size)
        while self._punches and size:
            if not _libc.fallocate(self._buffered, self._punches[0], self._start + offset, size):
                return
            number = ctypes.get_errno()
            if number not in _REFUSED:
                raise self._failed("written", offset, OSError(number, os.strerror(number)))
            if (self._start + offset) % ALIGNED or size % ALIGNED:
                break
            self._punches = self._punches[1:]
        while size:
            piece = min(size, len(zeros.view))
            self.write(offset, piece, zeros)
            offset, size = offset + piece, size - piece

    def settle(self) -> None:
        """Make durable what was written.

        :raises HostError: something could not be written
        """
        try:
            os.fsync(self._buffered)
        except OSError as error:
            raise self._failed("written", 0, error) from error

    def _check(self, offset: int, size: int) -> None:
        """Never leave the range, whatever the repository says."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise HostError(f"Bytes {offset}+{size} are outside of the {self.size:,} bytes.")

    def _failed(self, what: str, offset: int, error: OSError) -> HostError:
        return HostError(
            f"{self._path} cannot be {what} at byte {self._start + offset:,}: "
            f"{error.strerror or error}. Check its storage and the kernel log."
        )
