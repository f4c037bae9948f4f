"""Stores images: reads each chunk, and stores what the repository has not."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from volflow.errors import RepositoryError
from volflow.movers.native import blobs
from volflow.movers.native.blobs import ID, BlobKind
from volflow.movers.native.chunks import RUN, ChunkMap
from volflow.movers.native.device import PIECE, Device
from volflow.movers.native.known import Known
from volflow.movers.native.memory import Memory
from volflow.movers.native.store import BlobWriter, Store
from volflow.movers.native.threads import Team

# How often what is lost meanwhile is stored again.
_STORED_AT_MOST = 5
# Seconds between two reports of the progress.
_REPORT = 0.5


@dataclass
class Contents:
    """What was stored of an image.

    :ivar ids: for each stretch of :data:`RUN` bytes, the ids of its blobs, one after the other
    :ivar stored: bytes of the chunks that the repository did not have
    """

    ids: list[bytes] = field(default_factory=list)
    stored: int = 0

    def each(self) -> Iterator[bytes]:
        """The ids of all blobs."""
        for some in self.ids:
            for place in range(0, len(some), ID):
                yield some[place : place + ID]


class Saver:
    """Stores images of one backup.

    :param store: the repository, whose blobs are known
    :param chunk: bytes of a chunk; :data:`RUN` is a multiple of it
    :param threads: how many read and compress at the same time
    :param report: called with the bytes of progress
    """

    def __init__(
        self, store: Store, chunk: int, threads: int, report: Callable[[int], None]
    ) -> None:
        self._store = store
        self._chunk = chunk
        self._threads = threads
        self._report = report
        self._guard = threading.Lock()
        self._done = 0
        self._reported = 0.0
        self._zeros: dict[int, bytes] = {}

    def save(self, device: Device, before: ChunkMap | None, after: ChunkMap) -> Contents:
        """Store an image. It is in the repository after :meth:`Index.flush`.

        :param before: the map of the last backup
        :param after: filled with that of this backup
        :raises HostError: the device cannot be read
        :raises OSError: the repository cannot be written to
        """
        contents = Contents([b""] * -(-device.size // RUN))
        self._save(device, range(len(contents.ids)), contents, before, after)
        return contents

    def complete(self, device: Device, contents: Contents, after: ChunkMap, lost: Known) -> None:
        """Store again what is lost.

        :param lost: ids of blobs that are not in the repository
        """
        affected = [
            number
            for number, ids in enumerate(contents.ids)
            if any(ids[place : place + ID] in lost for place in range(0, len(ids), ID))
        ]
        if affected:
            self._save(device, affected, contents, None, after)

    def _save(
        self,
        device: Device,
        stretches: range | list[int],
        contents: Contents,
        before: ChunkMap | None,
        after: ChunkMap,
    ) -> None:
        left = iter(stretches)

        def work(next_one: Callable[[Iterator[int]], int | None]) -> None:
            stretch = _Stretch(self, device, contents, before, after)
            while (number := next_one(left)) is not None:
                stretch.save(number)
            stretch.writer.flush()
            with self._guard:
                contents.stored += stretch.writer.stored

        Team(self._threads).run(work)

    def zero_id(self, size: int) -> bytes:
        """The id of a blob of zeros."""
        if size not in self._zeros:
            self._zeros[size] = hashlib.sha256(bytes(size)).digest()
        return self._zeros[size]

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        with self._guard:
            self._done += size
            now = time.monotonic()
            if now < self._reported + _REPORT:
                return
            self._reported = now
            done = self._done
        self._report(done)


class _Stretch:
    """Stores stretches of an image, one after the other, in one thread."""

    def __init__(
        self,
        saver: Saver,
        device: Device,
        contents: Contents,
        before: ChunkMap | None,
        after: ChunkMap,
    ) -> None:
        self._saver = saver
        self._store = saver._store
        self._chunk = saver._chunk
        self._device = device
        self._contents = contents
        self._before = before
        self._after = after
        self._memory = Memory(max(PIECE, self._chunk))
        self.writer = BlobWriter(self._store, BlobKind.DATA)

    def save(self, number: int) -> None:
        """Store a stretch."""
        start = number * RUN
        end = min(start + RUN, self._device.size)
        if end - start == RUN and self._device.is_hole(start, RUN):
            for place in range(start, end, self._chunk):
                self._after.clear(place // self._chunk)
            self._contents.ids[number] = self._of_zeros(RUN)
            self._saver.advance(RUN)
            return
        piece = len(self._memory.view)
        ids: list[bytes] = []
        zero = 0
        for offset in range(start, end, piece):
            size = min(piece, end - offset)
            self._device.read(offset, size, self._memory)
            for place in range(0, size, self._chunk):
                length = min(self._chunk, size - place)
                if self._memory.is_zero(place, length):
                    zero += length
                    ids.append(self._zero((offset + place) // self._chunk, length))
                else:
                    ids.append(self._save((offset + place) // self._chunk, place, length))
            self._saver.advance(size)
        if zero == RUN:
            ids = [self._of_zeros(RUN)]
        elif zero:
            for length in {self._chunk, (end - start) % self._chunk} - {0}:
                if self._saver.zero_id(length) in ids:
                    self._of_zeros(length)
        self._contents.ids[number] = b"".join(ids)

    def _zero(self, number: int, length: int) -> bytes:
        self._after.clear(number)
        return self._saver.zero_id(length)

    def _of_zeros(self, length: int) -> bytes:
        """Store a blob of zeros, if that is necessary."""
        blob_id = self._saver.zero_id(length)
        if self._store.claim(blob_id):
            self.writer.put(blob_id, bytes(length))
        return blob_id

    def _save(self, number: int, place: int, length: int) -> bytes:
        """Store a chunk, if that is necessary."""
        chunk = self._memory.view[place : place + length]
        quick = blake3(chunk).digest()
        blob_id = self._before.get(number, quick) if self._before else None
        if blob_id is None or not self._store.has(blob_id):
            blob_id = blobs.id_of(chunk)
            if self._store.claim(blob_id):
                self.writer.put(blob_id, chunk)
        self._after.set(number, quick, blob_id)
        return blob_id


def settle(store: Store, saver: Saver, stored: list[tuple[Device, Contents, ChunkMap]]) -> None:
    """Write the index, and store again what was pruned meanwhile, until all is there.

    :raises RepositoryError: it is lost again and again
    :raises OSError: the repository cannot be written to
    """
    for _ in range(_STORED_AT_MOST):
        store.index.flush()
        if not store.index.has_lost:
            return
        ids = Known()
        for _, contents, _ in stored:
            for blob_id in contents.each():
                ids.add(blob_id)
        lost = store.missing(ids)
        if not lost:
            return
        for device, contents, after in stored:
            saver.complete(device, contents, after, lost)
    raise RepositoryError(
        f"The repository {store.directory.path} loses data again and again: does something prune "
        "it without its lock?"
    )
