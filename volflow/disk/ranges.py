"""A range of a device, byte for byte: read and written past the page cache where that is possible.

What was read so is what the device has, and costs the memory of one buffer. Programs that run with
nothing but the standard library load this file by its path, like ``helper.py``.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from types import TracebackType

# Bytes to read or write at a time, at most; those of a page.
CHUNK, PAGE = 2**20, 4096
# linux/fs.h: the bytes of a sector.
_SECTOR_SIZE = 0x1268
# fallocate(2): FALLOC_FL_KEEP_SIZE, and with it FALLOC_FL_PUNCH_HOLE or FALLOC_FL_ZERO_RANGE. On a
# block device the first discards where the device then reads as zeros, and never writes; the second
# writes zeros where the device cannot do it better.
_PUNCH, _ZERO = 0x01 | 0x02, 0x01 | 0x10
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENODEV)
_LIBC = ctypes.CDLL(None, use_errno=True)


def buffer() -> mmap.mmap:
    """Memory for a read or a write of :data:`CHUNK` bytes at any offset, aligned to pages."""
    return mmap.mmap(-1, CHUNK + 2 * PAGE)


class Range:
    """A range of a block device or file.

    :param device: its path; errors name it
    :param start: the first byte
    :param size: the number of bytes
    :raises OSError: it cannot be opened, or ends before the range does
    """

    def __init__(self, device: str, start: int, size: int, *, write: bool = False) -> None:
        self.device, self.start, self.size = device, start, size
        self._cached = self._direct = -1
        # Ways to zero that may still work; memory that nobody has written to.
        self._zeroing, self._zeros = [_PUNCH, _ZERO], buffer()
        way = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC
        self._cached = os.open(device, way)
        try:
            end = os.lseek(self._cached, 0, os.SEEK_END)
            if start < 0 or size < 0 or start + size > end:
                reason = f"it has {end} bytes, and the range ends at byte {start + size}"
                raise OSError(errno.EINVAL, reason, device)
            self._sector = PAGE
            if stat.S_ISBLK(os.fstat(self._cached).st_mode):
                size_of_sector = bytearray(4)
                fcntl.ioctl(self._cached, _SECTOR_SIZE, size_of_sector)
                self._sector = int.from_bytes(size_of_sector, "little")
            # What others have read before is not what the device has.
            os.posix_fadvise(self._cached, start, size, os.POSIX_FADV_DONTNEED)
            if self._sector <= PAGE:
                self._direct = _or_none(lambda: os.open(device, way | os.O_DIRECT))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Range:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the device, without making anything durable."""
        for fd in (self._cached, self._direct):
            if fd >= 0:
                os.close(fd)
        self._cached = self._direct = -1

    def read(self, memory: mmap.mmap, offset: int, count: int) -> memoryview:
        """Read some bytes.

        :param memory: of :func:`buffer`
        :param offset: of the first byte in the range
        :param count: the number of bytes, at most :data:`CHUNK`
        :returns: the bytes, in that memory
        :raises OSError: the device could not read all of them, or has ended
        """
        first = self.start + offset
        if self._direct >= 0:
            skipped = first % self._sector
            whole = -(-(skipped + count) // self._sector) * self._sector
            view = memoryview(memory)
            try:
                self._fill(self._direct, view[:whole], first - skipped, skipped + count)
                return view[skipped : skipped + count]
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._no_direct()
        view = memoryview(memory)[:count]
        self._fill(self._cached, view, first, count)
        return view

    def _fill(self, fd: int, view: memoryview, at: int, needed: int) -> None:
        """Read at least the needed bytes at a byte of the device."""
        done = 0
        while done < needed:
            with self._named():
                more = os.preadv(fd, [view[done:]], at + done)
            if not more:
                raise OSError(errno.EIO, f"it has ended at byte {at + done}", self.device)
            done += more

    def write(self, data: memoryview, offset: int) -> None:
        """Write some bytes; :meth:`settle` makes them durable.

        :param data: it begins at a page of memory of :func:`buffer`
        :param offset: in the range
        :raises OSError: the device could not write all of them
        """
        at, whole = self.start + offset, 0
        if self._direct >= 0 and at % self._sector == 0:
            whole = len(data) // self._sector * self._sector
            try:
                self._flush(self._direct, data[:whole], at)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._no_direct()
                whole = 0
        self._flush(self._cached, data[whole:], at + whole)

    def _flush(self, fd: int, data: memoryview, at: int) -> None:
        while data:
            with self._named():
                done = os.pwritev(fd, [data], at)
            data, at = data[done:], at + done

    def zero(self, offset: int, count: int) -> None:
        """Let some bytes read as zeros: discard them, or write zeros.

        :param offset: of the first one in the range
        :raises OSError: the device could not do it
        """
        end = offset + count
        first = min(end, -(-(self.start + offset) // self._sector) * self._sector - self.start)
        last = max(first, (self.start + end) // self._sector * self._sector - self.start)
        self._write_zeros(offset, first)
        while self._zeroing and last > first:
            numbers = (ctypes.c_longlong(self.start + first), ctypes.c_longlong(last - first))
            if _LIBC.fallocate(self._cached, self._zeroing[0], *numbers) == 0:
                break
            number = ctypes.get_errno()
            if number == errno.EINTR:
                continue
            if number not in _UNSUPPORTED:
                raise OSError(number, os.strerror(number), self.device)
            del self._zeroing[0]
        else:
            self._write_zeros(first, last)
        self._write_zeros(last, end)

    def _write_zeros(self, first: int, last: int) -> None:
        for offset in range(first, last, CHUNK):
            self.write(memoryview(self._zeros)[: min(CHUNK, last - offset)], offset)

    def settle(self) -> None:
        """Make everything that was written durable.

        :raises OSError: something could not be written
        """
        for fd in (self._cached, self._direct):
            if fd >= 0:
                with self._named():
                    os.fsync(fd)

    def _no_direct(self) -> None:
        os.close(self._direct)
        self._direct = -1

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self.device
            raise


def _or_none(opened: Callable[[], int]) -> int:
    """A descriptor; -1 where the file system knows no such access."""
    try:
        return opened()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return -1
