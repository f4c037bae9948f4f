"""Writes a stored image to a range of a device, or compares it with what the device has.

This file runs as a program of its own, as root, with nothing but the standard library:
``imaging.py ACTION DEVICE START SIZE COMMAND...`` runs the command, which writes what is stored.
ACTION is ``compare``, ``blank`` if the range reads as zeros already, and otherwise ``write``. It
prints its progress regularly as ``{"bytes": number}``, and one of these:

* ``{"differs": offset}``: the first byte of the range that differs from what is stored;
* ``{"size": number}``: the stored image ends after so many bytes, or has at least so many;
* ``{"failed": reason}``: the device failed.

Its exit status is that of the command unless it has ended the command. What was written is durable
when its status is 0.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import mmap

    from volflow.disk.ranges import Range

_RANGES, _HELPER = (
    runpy.run_path(f"{os.path.dirname(__file__)}/{name}.py") for name in ("ranges", "helper")
)
_CHUNK: int = _RANGES["CHUNK"]
# Runs of zeros of so many bytes are not written, and at most so many are zeroed at a time.
_PIECE, _ZEROED = 64 * 1024, 64 * 2**20
_ZEROS = bytes(_CHUNK)
# fcntl(2): the size of a pipe.
_SET_PIPE_SIZE = 1031
# Seconds between two reports.
_PAUSE = 0.5
# The command ends with this program, however that ends.
_BOUND = ("setpriv", "--pdeathsig", "KILL")


class Writer:
    """Writes an image to a range, from its beginning.

    :param blank: the range reads as zeros already
    """

    def __init__(self, span: Range, *, blank: bool) -> None:
        self._span, self._blank = span, blank
        # A run of zeros that is not yet zeroed, as offsets.
        self._first = self._end = 0

    def take(self, memory: mmap.mmap, offset: int, count: int) -> None:
        """Write the next bytes.

        :param memory: it begins with these bytes
        :raises OSError: the device could not be written to
        """
        data = memory[:count]
        if data == _ZEROS[:count]:
            self._skip(offset, count)
            return
        view, start = memoryview(memory), 0
        for at in range(0, count, _PIECE):
            piece = data[at : at + _PIECE]
            if piece == _ZEROS[: len(piece)]:
                self._write(view[start:at], offset + start)
                self._skip(offset + at, len(piece))
                start = at + len(piece)
        self._write(view[start:count], offset + start)

    def _write(self, data: memoryview, offset: int) -> None:
        if data:
            self._span.write(data, offset)

    def _skip(self, offset: int, count: int) -> None:
        if self._blank:
            return
        if offset != self._end or offset - self._first >= _ZEROED:
            self._zero()
            self._first = offset
        self._end = offset + count

    def _zero(self) -> None:
        if self._first < self._end:
            self._span.zero(self._first, self._end - self._first)
        self._first = self._end

    def finish(self) -> None:
        """Make everything durable."""
        self._zero()
        self._span.settle()


class Comparer:
    """Compares an image with a range, from its beginning.

    :ivar differs: the offset of the first byte that differs, once one does
    """

    def __init__(self, span: Range) -> None:
        self._span, self._memory = span, _RANGES["buffer"]()
        self.differs: int | None = None

    def take(self, memory: mmap.mmap, offset: int, count: int) -> None:
        """Compare the next bytes.

        :raises OSError: the device could not be read
        """
        stored, found = memory[:count], bytes(self._span.read(self._memory, offset, count))
        if stored != found:
            self.differs = offset + _first_difference(stored, found)

    def finish(self) -> None:
        """Nothing was written."""


def _first_difference(one: bytes, other: bytes) -> int:
    """The offset of the first byte that differs in two texts of the same length."""
    at, size = 0, len(one)
    while size > 1:
        half = size // 2
        if one[at : at + half] == other[at : at + half]:
            at, size = at + half, size - half
        else:
            size = half
    return at


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


def _take(stored: IO[bytes], span: Range, action: str) -> bool:
    """Write or compare the image; returns whether all of it was there, and nothing differs.

    :raises EOFError: it has ended too early; says after how many bytes
    """
    worker = Comparer(span) if action == "compare" else Writer(span, blank=action == "blank")
    memory = _RANGES["buffer"]()
    offset, reported = 0, 0.0
    while offset < span.size:
        count = _read(stored, memory, min(_CHUNK, span.size - offset))
        if not count:
            raise EOFError(offset)
        worker.take(memory, offset, count)
        offset += count
        if isinstance(worker, Comparer) and worker.differs is not None:
            _tell(differs=worker.differs)
            return False
        if time.monotonic() > reported + _PAUSE:
            reported = time.monotonic()
            _tell(bytes=offset)
    if stored.read(1):
        _tell(size=offset + 1)
        return False
    worker.finish()
    _tell(bytes=offset)
    return True


def _read(stored: IO[bytes], memory: mmap.mmap, count: int) -> int:
    """Read these bytes, or fewer at the end; returns how many."""
    view, done = memoryview(memory), 0
    while done < count and (more := os.readv(stored.fileno(), [view[done:count]])):
        done += more
    return done


def main(action: str, device: str, start: str, size: str, *command: str) -> int:
    """Write or compare the image; returns the exit status."""
    try:
        span = _RANGES["Range"](device, int(start), int(size), write=action != "compare")
    except OSError as error:
        _tell(failed=_HELPER["line"](error))
        return 1
    with (
        span,
        subprocess.Popen([*_BOUND, *command], stdout=subprocess.PIPE, bufsize=0) as process,
    ):
        assert process.stdout is not None
        complete = False
        try:
            complete = _take(process.stdout, span, action)
        except EOFError as error:
            status = process.wait()
            # If it has failed, it has said why.
            if not status:
                _tell(size=error.args[0])
            return status or 1
        except OSError as error:
            _tell(failed=_HELPER["line"](error))
        except KeyboardInterrupt:
            pass
        if not complete:
            # So it gives up its lock.
            process.send_signal(signal.SIGINT)
            process.stdout.close()
        return process.wait() or int(not complete)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
