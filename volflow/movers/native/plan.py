"""Where in the packs the content of an image is, and where it goes.

The list of blobs comes from the repository. Whoever has its password can write anything there: all
blobs together must have exactly the size of the image.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from volflow.movers.native import blobs
from volflow.movers.native.blobs import ID, BlobKind, Place
from volflow.movers.native.crypto import DamagedError
from volflow.movers.native.index import Index, check_size

# More blobs than any image has: of 64 TiB in chunks of 16 MiB, or of 4 TiB by restic.
MOST = 2**22


class Wanted(NamedTuple):
    """A blob of an image.

    :ivar offsets: where its content is in the image
    """

    place: Place
    offsets: tuple[int, ...]


class Plan:
    """What to read from which pack.

    :param ids: of the blobs of the image, one after the other
    :param size: bytes of the image
    :param name: of the image, for errors
    :raises DamagedError: a blob is missing, or they have not this size
    """

    def __init__(self, index: Index, ids: bytes, size: int, name: str) -> None:
        count = len(ids) // ID
        if count > MOST:
            raise DamagedError(f"'{name}' in the backup has {count:,} blobs, more than {MOST:,}.")
        # Each different id gets a number. What is known of it is in arrays: a few bytes for each.
        numbers: dict[bytes, int] = {}
        self._content = array(
            "L",
            (
                numbers.setdefault(ids[place : place + ID], len(numbers))
                for place in range(0, len(ids), ID)
            ),
        )
        self._ids = b"".join(numbers)
        self._pack, self._offset, self._length, self._plain = (
            array("L", bytes(8 * len(numbers))) for _ in range(4)
        )
        self._packs: dict[bytes, int] = {}

        def found(pack: bytes, kind: BlobKind, place: Place) -> None:
            number = numbers.get(place.id)
            if number is None or kind is not BlobKind.DATA:
                return
            # From 1; 0 is that it was not found.
            self._pack[number] = self._packs.setdefault(pack, len(self._packs) + 1)
            self._offset[number] = place.offset
            self._length[number], self._plain[number] = place.length, place.plain

        index.read(found)
        self._check(size, name)

    def _place(self, number: int) -> Place:
        blob_id = self._ids[number * ID : (number + 1) * ID]
        return Place(blob_id, self._offset[number], self._length[number], self._plain[number])

    def _check(self, size: int, name: str) -> None:
        for number, pack in enumerate(self._pack):
            if not pack:
                missing = self._ids[number * ID : (number + 1) * ID].hex()[:8]
                raise DamagedError(
                    f"'{name}' in the backup is incomplete: blob {missing} is missing in the "
                    "repository. 'restic check' tells what else is."
                )
            check_size(self._place(number), blobs.MOST)
        found = sum(self._place(number).size for number in self._content)
        if found != size:
            raise DamagedError(
                f"'{name}' in the backup has {found:,} bytes, and not {size:,} as its region."
            )

    def packs(self) -> Iterator[tuple[bytes, list[Wanted]]]:
        """The packs in the order of the image, each with the blobs that are wanted of it."""
        # Where the offsets of each blob are in one list of all.
        count = len(self._pack)
        ends = array("L", bytes(8 * (count + 1)))
        for number in self._content:
            ends[number + 1] += 1
        for number in range(count):
            ends[number + 1] += ends[number]
        filled, offsets, at = array("L", ends), array("L", bytes(8 * len(self._content))), 0
        first: dict[int, int] = {}
        for number in self._content:
            offsets[filled[number]] = at
            filled[number] += 1
            first.setdefault(self._pack[number], len(first))
            at += self._plain[number] or self._place(number).size
        order = sorted(range(count), key=lambda each: (first[self._pack[each]], self._offset[each]))
        names = list(self._packs)
        begin = 0
        while begin < count:
            pack, end = self._pack[order[begin]], begin
            while end < count and self._pack[order[end]] == pack:
                end += 1
            yield (
                names[pack - 1],
                [
                    Wanted(self._place(each), tuple(offsets[ends[each] : ends[each + 1]]))
                    for each in order[begin:end]
                ],
            )
            begin = end
