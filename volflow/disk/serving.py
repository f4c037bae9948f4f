"""Shows ranges of devices as read-only files, for programs that read only files.

This file runs as a program of its own in the mount namespace, as root, with nothing but the
standard library:  ``serving.py MODIFIED [FILE DEVICE START SIZE]...`` mounts the range of each
device over an empty file, prints a line, and serves the files until all are unmounted, or until it
is ended. MODIFIED is the time of their last change, in nanoseconds since the epoch.

It speaks the protocol of the kernel (``linux/fuse.h``; fuse(4)) and needs no libfuse. Each file is
a mount of its own, with a regular file as its root. Only root can see it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import runpy
import stat
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mmap

    from volflow.disk.ranges import Range

_RANGES: dict[str, Any] = runpy.run_path(f"{os.path.dirname(__file__)}/ranges.py")
_CHUNK: int = _RANGES["CHUNK"]
# The version of the protocol: what this program needs is in each kernel that volflow runs on.
_MAJOR, _MINOR, _OLDEST = 7, 31, 28
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _STATFS, _RELEASE = 1, 2, 3, 14, 15, 17, 18
_INIT, _INTERRUPT, _DESTROY, _BATCH_FORGET = 26, 36, 38, 42
# Not answered. Each read is answered at once, so nothing is left to interrupt.
_SILENT = (_FORGET, _BATCH_FORGET, _INTERRUPT)
# Flags of INIT: reads may overtake each other; a request may have more than 32 pages.
_ASYNC_READ, _MAX_PAGES = 1 << 0, 1 << 22
# A flag of OPEN: reads go past the page cache, in the pieces that the reader asks for. That costs
# half the processor time of the read-ahead of the kernel, and no memory.
_DIRECT_IO = 1 << 0
_IN, _OUT = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ")
_INIT_IN, _INIT_OUT = struct.Struct("=IIII"), struct.Struct("=IIIIHHIIHH32x")
_ATTR = struct.Struct("=QII 6Q 10I")
_OPEN_OUT, _READ_IN = struct.Struct("=QII"), struct.Struct("=QQI")
_STATFS_OUT = struct.Struct("=5Q 4I 24x")
# Bytes of the longest request, and of the least that the kernel lets a request of data have.
_REQUEST, _MAX_WRITE = 16 * 1024, 4096
# Seconds that the kernel may keep what it knows of the file: it never changes.
_VALID = 3600
# mount(2): MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
_MOUNT_FLAGS = 0x1 | 0x2 | 0x4 | 0x8
_LIBC = ctypes.CDLL(None, use_errno=True)


class Served:
    """A range that is mounted as a file.

    :param path: where; an empty file, which is made, with its directory
    :param span: the range
    :param modified: nanoseconds since the epoch
    :raises OSError: it could not be mounted
    """

    def __init__(self, path: str, span: Range, modified: int) -> None:
        self._span, self._modified, self._changed = span, modified, time.time_ns()
        # While it is open: only some of many are read at a time.
        self._memory: mmap.mmap | None = None
        self._answers: dict[int, Callable[[memoryview], list[bytes | memoryview] | int]] = {
            _INIT: self._init,
            _GETATTR: self._attributes,
            _OPEN: lambda _: [_OPEN_OUT.pack(0, _DIRECT_IO, 0)],
            _READ: self._read,
            _STATFS: lambda _: [_STATFS_OUT.pack(0, 0, 0, 0, 0, 512, 255, 512, 0)],
            _RELEASE: self._release,
            _DESTROY: lambda _: [],
        }
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode={stat.S_IFREG:o},user_id=0,group_id=0"
        names = (b"volflow", os.fsencode(path), b"fuse")
        if _LIBC.mount(*names, ctypes.c_ulong(_MOUNT_FLAGS), options.encode()):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)

    def serve(self) -> None:
        """Answer the kernel until the file is unmounted."""
        request = bytearray(_REQUEST)
        while True:
            try:
                count = os.readv(self._fd, [request])
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return  # unmounted
                # A request was taken back before it was read.
                if error.errno not in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    raise
                continue
            self._answer(memoryview(request)[:count])

    def _answer(self, request: memoryview) -> None:
        _, code, unique, *_ = _IN.unpack_from(request)
        if code in _SILENT:
            return
        answer = self._answers.get(code)
        found = answer(request[_IN.size :]) if answer else errno.ENOSYS
        if isinstance(found, int):
            head, parts = _OUT.pack(_OUT.size, -found, unique), []
        else:
            head, parts = _OUT.pack(_OUT.size + sum(map(len, found)), 0, unique), found
        try:
            os.writev(self._fd, [head, *parts])
        except OSError as error:
            # Whoever asked has been ended.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _init(self, body: memoryview) -> list[bytes | memoryview] | int:
        major, minor, _, flags = _INIT_IN.unpack_from(body)
        if (major, minor) < (_MAJOR, _OLDEST):
            return errno.EPROTO
        if major > _MAJOR:
            # The kernel asks again, in this version.
            return [_INIT_OUT.pack(_MAJOR, _MINOR, *[0] * 8)]
        flags &= _ASYNC_READ | _MAX_PAGES
        pages = _CHUNK // os.sysconf("SC_PAGE_SIZE")
        return [_INIT_OUT.pack(_MAJOR, _MINOR, _CHUNK, flags, 0, 0, _MAX_WRITE, 1, pages, 0)]

    def _attributes(self, _: memoryview) -> list[bytes | memoryview]:
        size = self._span.size
        # restic reads a file again if its ctime is another one.
        times = [divmod(each, 10**9) for each in (self._modified, self._modified, self._changed)]
        numbers = (1, size, -(-size // 512), *(seconds for seconds, _ in times))
        mode = (stat.S_IFREG | 0o600, 1, 0, 0, 0, _CHUNK, 0)
        return [_ATTR.pack(_VALID, 0, 0, *numbers, *(nano for _, nano in times), *mode)]

    def _read(self, body: memoryview) -> list[bytes | memoryview] | int:
        _, offset, count = _READ_IN.unpack_from(body)
        count = max(0, min(count, _CHUNK, self._span.size - offset))
        if not count:
            return []
        if self._memory is None:
            self._memory = _RANGES["buffer"]()
        try:
            return [self._span.read(self._memory, offset, count)]
        except OSError as error:
            print(f"{self._span.device}: {error.strerror}", file=sys.stderr, flush=True)
            return errno.EIO

    def _release(self, _: memoryview) -> list[bytes | memoryview]:
        self._memory = None
        return []


def _give_up(failed: threading.ExceptHookArgs) -> None:
    """End this program: whoever reads the files must not take them for damaged."""
    traceback.print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
    os._exit(1)


def main(modified: str, *ranges: str) -> None:
    """Mount the ranges and serve them."""
    # Each has three descriptors.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = [ranges[at : at + 4] for at in range(0, len(ranges), 4)]
    spans = [_RANGES["Range"](device, int(start), int(size)) for _, device, start, size in files]
    threading.excepthook = _give_up
    threads = []
    for (path, *_), span in zip(files, spans, strict=True):
        served = Served(path, span, int(modified))
        threads.append(threading.Thread(target=served.serve, daemon=True))
        threads[-1].start()
    print(flush=True)
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
