"""Writes images to devices, and compares devices with images."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from volflow.errors import HostError
from volflow.movers.native.blobs import MOST, unseal
from volflow.movers.native.device import PIECE, Device
from volflow.movers.native.memory import Memory
from volflow.movers.native.plan import Plan, Wanted
from volflow.movers.native.store import Store
from volflow.movers.native.threads import Team

# Bytes to read of a pack at a time.
_READ = 4 * 2**20
# Seconds between two reports of the progress.
_REPORT = 0.5

# Blobs of an image: their content and where it goes.
_Content = tuple[Wanted, bytes]


class Restorer:
    """Restores or compares one image.

    :param store: the repository
    :param device: the range, open
    :param plan: what to read, and where it goes
    :param threads: how many read and decompress at the same time
    :param report: called with the bytes of progress
    """

    def __init__(
        self,
        store: Store,
        device: Device,
        plan: Plan,
        threads: int,
        report: Callable[[int], None],
    ) -> None:
        self._store = store
        self._device = device
        self._plan = plan
        self._threads = threads
        self._report = report
        self._guard = threading.Lock()
        self._done = 0
        self._reported = 0.0
        self._zeros = Memory(PIECE)
        self._differs = device.size

    def restore(self, *, blank: bool) -> None:
        """Write the image. It is durable when this returns.

        :param blank: the range is zero already
        :raises RepositoryError: something of it is missing or damaged
        :raises HostError: the device cannot be written
        """

        def work(next_one: _Next) -> None:
            memory = _Gathered(self._device)
            for wanted, content in self._contents(next_one):
                if _is_zero(content):
                    if not blank:
                        self._zero(wanted.offsets, len(content))
                else:
                    for offset in wanted.offsets:
                        memory.write(offset, content)
                self._advance(len(content) * len(wanted.offsets))
            memory.flush()

        Team(self._threads).run(work)
        self._device.settle()

    def compare(self) -> None:
        """Compare the image with what the device has.

        :raises RepositoryError: something of it is missing or damaged
        :raises HostError: they differ, or the device cannot be read
        """

        def work(next_one: _Next) -> None:
            memory = Memory(MOST)
            for wanted, content in self._contents(next_one):
                for offset in wanted.offsets:
                    if offset >= self._differs:
                        continue
                    self._device.read(offset, len(content), memory)
                    if not memory.is_equal(0, content):
                        self._note(offset + _first_difference(memory, content))
                self._advance(len(content) * len(wanted.offsets))

        Team(self._threads).run(work)
        if self._differs < self._device.size:
            raise HostError(
                f"What was restored differs from what is stored: byte {self._differs:,} of the "
                "region is the first one that does."
            )

    def _note(self, offset: int) -> None:
        with self._guard:
            self._differs = min(self._differs, offset)

    def _contents(self, next_one: _Next) -> Iterator[_Content]:
        """The blobs of some packs with their content; each is verified."""
        packs = self._packs
        while (found := next_one(packs)) is not None:
            pack, wanted = found
            begin = 0
            while begin < len(wanted):
                end, start = begin + 1, wanted[begin].place.offset
                until = start + wanted[begin].place.length
                while end < len(wanted):
                    place = wanted[end].place
                    if place.offset != until or until + place.length - start > _READ:
                        break
                    until, end = until + place.length, end + 1
                read = memoryview(self._store.directory.read_part(pack.hex(), start, until - start))
                for one in wanted[begin:end]:
                    at = one.place.offset - start
                    sealed = read[at : at + one.place.length]
                    yield one, unseal(self._store.key, one.place, sealed)
                begin = end

    @property
    def _packs(self) -> Iterator[tuple[bytes, list[Wanted]]]:
        """The packs that are left; all threads share it."""
        with self._guard:
            if not hasattr(self, "_left"):
                self._left = self._plan.packs()
            return self._left

    def _zero(self, offsets: tuple[int, ...], size: int) -> None:
        """Make these parts zero, neighbours at once."""
        begin = end = offsets[0]
        for offset in offsets:
            if offset != end:
                self._device.zero(begin, end - begin, self._zeros)
                begin = offset
            end = offset + size
        self._device.zero(begin, end - begin, self._zeros)

    def _advance(self, size: int) -> None:
        with self._guard:
            self._done += size
            now = time.monotonic()
            if now < self._reported + _REPORT:
                return
            self._reported = now
            done = self._done
        self._report(done)


_Next = Callable[[Iterator[tuple[bytes, list[Wanted]]]], tuple[bytes, list[Wanted]] | None]


class _Gathered:
    """Writes neighbours at once, from aligned memory."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._memory = Memory(MOST)
        self._begin = self._size = 0

    def write(self, offset: int, content: bytes) -> None:
        if offset != self._begin + self._size or self._size + len(content) > PIECE:
            self.flush()
            self._begin = offset
        self._memory.view[self._size : self._size + len(content)] = content
        self._size += len(content)

    def flush(self) -> None:
        if self._size:
            self._device.write(self._begin, self._size, self._memory)
        self._begin, self._size = self._begin + self._size, 0


def _is_zero(content: bytes) -> bool:
    return not content[0] and not content[-1] and content == bytes(len(content))


def _first_difference(memory: Memory, content: bytes) -> int:
    """The first byte that differs; one does."""
    same, differs = 0, len(content)
    while same + 1 < differs:
        middle = (same + differs) // 2
        if memory.is_equal(same, content[same:middle]):
            same = middle
        else:
            differs = middle
    return same
