"""A set of ids of blobs that takes little more memory than the ids.

A million ids in a set of Python take some 100 MB, here 36 MB. The whole ids are compared: whoever
owns a volume can make content whose ids begin alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from volflow.movers.native.blobs import ID

_BUCKETS = 4096


class Known:
    """A set of ids. Its methods are not for several threads at once."""

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * _BUCKETS
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, blob_id: bytes) -> bool:
        bucket = self._buckets[self._number(blob_id)]
        place = bucket.find(blob_id) if bucket else -1
        while place >= 0 and place % ID:
            # In the middle of two others.
            assert bucket is not None
            place = bucket.find(blob_id, place + 1)
        return place >= 0

    def add(self, blob_id: bytes) -> bool:
        """Add an id; returns whether it is new."""
        if blob_id in self:
            return False
        self.append(blob_id)
        return True

    def append(self, blob_id: bytes) -> None:
        """Add an id without a look whether it is there."""
        number = self._number(blob_id)
        bucket = self._buckets[number]
        if bucket is None:
            self._buckets[number] = bytearray(blob_id)
        else:
            bucket += blob_id
        self._count += 1

    def __iter__(self) -> Iterator[bytes]:
        for bucket in self._buckets:
            for place in range(0, len(bucket or b""), ID):
                yield bytes((bucket or b"")[place : place + ID])

    @staticmethod
    def _number(blob_id: bytes) -> int:
        # Python's hash has a secret of this process: nobody can fill one bucket on purpose.
        return hash(blob_id) % _BUCKETS
