"""A guest that writes to its volume at random, in every way that a file can change."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

_FILES = 48
# The number of files that it writes to most of the time, until it is started again. So some files
# change often, and some not again for long.
_BUSY = 8
# Acts that are remembered.
_REMEMBERED = 5000
_BLOCK = 4096
# Seconds after which data are written that the guest did not flush. A kernel takes half a minute;
# the margin of volflow in the product is twice as long, and here too.
_WRITE_BACK = 1.0
# sync_file_range(2): to write the data and wait, without the times.
_ALL_DATA = 1 | 2 | 4
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class Guest:
    """Writes to the files of a mounted volume until somebody stops it.

    :ivar acts: how often it did what
    :ivar done: what it did last: when in seconds since the epoch, what, and to which inode
    """

    # Ways of writing that change a content before the times of the file are on the disk.
    IN_PLACE = frozenset({"in place", "direct", "mapped", "unflushed", "with its old mtime"})

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance = root, chance
        self.acts: Counter[str] = Counter()
        self.done: deque[tuple[float, str, int]] = deque(maxlen=_REMEMBERED)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._busy: list[int] = []
        self._dirty: deque[tuple[float, int]] = deque()
        self._ways: list[Callable[[Path], None]] = [
            *(self.in_place, self.direct, self.mapped, self.unflushed, self.with_its_old_mtime),
            *(self.renamed_over, self.swapped, self.appended, self.mode, self.linked),
        ]

    def fill(self) -> None:
        """Make the files."""
        for number in range(_FILES):
            size = _BLOCK * self.chance.choice((1, 2, 16))
            self._file(number).write_bytes(self.chance.randbytes(size))
        (self.root / "linked").mkdir()

    def start(self) -> None:
        """Begin to write."""
        self._stop.clear()
        self._busy = self.chance.sample(range(_FILES), _BUSY)
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write no more.

        :raises OSError: a write failed
        """
        self._stop.set()
        if self._thread:
            self._thread.join()
            self._thread = None
        if self._failure:
            raise self._failure

    def _write(self) -> None:
        try:
            while not self._stop.wait(self.chance.choice((0.001, 0.01, 0.05, 0.3))):
                self._write_back(time.monotonic() - _WRITE_BACK)
                way = self.chance.choice(self._ways)
                busy = self.chance.random() < 0.8
                path = self._file(self.chance.choice(self._busy if busy else range(_FILES)))
                what = way.__name__.replace("_", " ")
                self._did(what, path)
                way(path)
                self.acts[what] += 1
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._failure = error
        finally:
            self._write_back(time.monotonic())

    def _write_back(self, before: float) -> None:
        """Write the data of files that were written to before this moment, but not their times."""
        while self._dirty and self._dirty[0][0] <= before:
            fd = self._dirty.popleft()[1]
            _LIBC.sync_file_range(fd, ctypes.c_int64(0), ctypes.c_int64(0), _ALL_DATA)
            os.close(fd)

    def _did(self, what: str, path: Path) -> None:
        self.done.append((time.time(), what, path.stat().st_ino))

    def since(self, moment: float, inode: int) -> list[tuple[float, str]]:
        """What it did after a moment to a file, which may have got another name since."""
        return [(when, what) for when, what, to in self.done if to == inode and when >= moment]

    def _file(self, number: int) -> Path:
        return self.root / f"file {number}"

    def _place(self, path: Path) -> int:
        return _BLOCK * self.chance.randrange(max(1, path.stat().st_size // _BLOCK))

    # The ways

    def in_place(self, path: Path) -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(fd, self.chance.randbytes(_BLOCK), self._place(path))
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def direct(self, path: Path) -> None:
        with mmap.mmap(-1, _BLOCK) as aligned:
            aligned.write(self.chance.randbytes(_BLOCK))
            fd = os.open(path, os.O_WRONLY | os.O_DIRECT)
            try:
                os.pwritev(fd, [aligned], self._place(path))
            finally:
                os.close(fd)

    def mapped(self, path: Path) -> None:
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            place = self._place(path)
            memory[place : place + _BLOCK] = self.chance.randbytes(_BLOCK)
            memory.flush()

    def unflushed(self, path: Path) -> None:
        fd = os.open(path, os.O_WRONLY)
        self._dirty.append((time.monotonic(), fd))
        os.pwrite(fd, self.chance.randbytes(_BLOCK), self._place(path))

    def with_its_old_mtime(self, path: Path) -> None:
        before = path.stat()
        self.in_place(path)
        back = self.chance.choice((0, 3600 * 10**9))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - back))

    def renamed_over(self, path: Path) -> None:
        new = path.with_name("new")
        new.write_bytes(self.chance.randbytes(path.stat().st_size))
        new.rename(path)

    def swapped(self, path: Path) -> None:
        other = self._file(self.chance.randrange(_FILES))
        self._did("swapped", other)
        names = os.fsencode(path), os.fsencode(other)
        if _LIBC.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), "renameat2")

    def appended(self, path: Path) -> None:
        if path.stat().st_size > 64 * _BLOCK:
            os.truncate(path, _BLOCK)
        with path.open("ab") as file:
            file.write(self.chance.randbytes(_BLOCK))

    def mode(self, path: Path) -> None:
        path.chmod(self.chance.choice((0o600, 0o644, 0o4755)))

    def linked(self, path: Path) -> None:
        link = self.root / "linked" / path.name
        link.unlink(missing_ok=True)
        os.link(path, link)
