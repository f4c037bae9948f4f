"""The index: which pack contains which blobs.

From restic's design document, "Indexing". An index is many files; new ones are added, and only
restic itself replaces them, when it prunes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from volflow.errors import RepositoryError
from volflow.movers.native import documents
from volflow.movers.native.blobs import BlobKind, Place
from volflow.movers.native.crypto import OVERHEAD, DamagedError, Key
from volflow.movers.native.directory import Directory, Kind
from volflow.movers.native.packs import Pack

# Blobs of one file of the index, as restic has them.
_BLOBS = 50_000
# How often to read the index again if restic replaces its files meanwhile.
_READ_AT_MOST = 5
_ID = re.compile(r"[0-9a-f]{64}")
# Bytes of the largest pack: restic's have at most 128 MiB, and little more where a blob is large.
_PACK = 2**32
_KINDS = {kind.value: kind for kind in BlobKind}

# What is called with each blob: the pack's id, the blob's kind and place.
Found = Callable[[bytes, BlobKind, Place], None]


class Index:
    """The index of a repository."""

    def __init__(self, directory: Directory, key: Key) -> None:
        self._directory = directory
        self._key = key
        self._waiting: list[Pack] = []
        self._blobs = 0
        # Files that were read or written.
        self._files: set[str] = set()

    def read(self, found: Found, start: Callable[[], None] = lambda: None) -> None:
        """Read all of the index.

        :param found: called with each blob
        :param start: called before the first blob, also when it begins again
        :raises RepositoryError: it cannot be read
        """
        for _ in range(_READ_AT_MOST):
            start()
            names = self._directory.names(Kind.INDEX)
            try:
                for name in sorted(names):
                    self._read_file(name, found)
            except FileNotFoundError:
                continue  # Replaced meanwhile.
            self._files = names
            return
        raise self._unsteady()

    def locate(self, ids: Collection[bytes]) -> dict[bytes, tuple[bytes, Place]]:
        """Where a few blobs are: the pack's id, and the place in it.

        The newest files are read first, and no more than necessary.

        :returns: those that were found
        :raises RepositoryError: the index cannot be read
        """
        places: dict[bytes, tuple[bytes, Place]] = {}

        def found(pack: bytes, _: BlobKind, place: Place) -> None:
            if place.id in ids:
                places[place.id] = pack, place

        for _ in range(_READ_AT_MOST):
            try:
                for name in self._directory.newest(Kind.INDEX):
                    self._read_file(name, found)
                    if len(places) == len(ids):
                        break
            except FileNotFoundError:
                continue  # Replaced meanwhile.
            return places
        raise self._unsteady()

    def _unsteady(self) -> RepositoryError:
        return RepositoryError(
            f"The index of the repository {self._directory.path} changes all the time: try again "
            "when nothing prunes it."
        )

    def _read_file(self, name: str, found: Found) -> None:
        what = f"Index {name[:8]}"
        document = documents.unseal_object(self._key, self._directory.read(Kind.INDEX, name), what)
        try:
            for pack in document["packs"]:
                pack_id = _id(pack["id"])
                for blob in pack["blobs"]:
                    found(pack_id, _KINDS[blob["type"]], _place(blob))
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{what} in the repository is not as restic writes it ({error!r}): 'restic "
                "repair index' makes a new one."
            ) from error

    @property
    def has_lost(self) -> bool:
        """Whether files that were read or written are gone: blobs may be gone, too."""
        return not self._files <= self._directory.names(Kind.INDEX)

    def add(self, pack: Pack) -> None:
        """Add a pack. It is written with others: :meth:`flush`.

        :raises OSError: it cannot be written
        """
        self._waiting.append(pack)
        self._blobs += len(pack.places)
        if self._blobs >= _BLOBS:
            self.flush()

    def flush(self) -> None:
        """Write the packs that were added.

        :raises OSError: they cannot be written
        """
        if not self._waiting:
            return
        document = {"packs": [_document(pack) for pack in self._waiting]}
        self._files.add(self._directory.write(Kind.INDEX, documents.seal(self._key, document)))
        self._waiting, self._blobs = [], 0


def _document(pack: Pack) -> dict[str, Any]:
    return {"id": pack.id.hex(), "blobs": list(_blobs(pack.kind, pack.places))}


def _blobs(kind: BlobKind, places: Iterable[Place]) -> Iterator[dict[str, Any]]:
    for place in places:
        blob = {
            "id": place.id.hex(),
            "type": kind.value,
            "offset": place.offset,
            "length": place.length,
        }
        if place.plain:
            blob["uncompressed_length"] = place.plain
        yield blob


def _id(text: object) -> bytes:
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise ValueError("an impossible id")
    return bytes.fromhex(text)


def _place(blob: Any) -> Place:
    offset, length, plain = blob["offset"], blob["length"], blob.get("uncompressed_length", 0)
    if not all(type(each) is int for each in (offset, length, plain)):
        raise ValueError("a number that is none")
    if not (0 <= offset <= _PACK and OVERHEAD <= length <= _PACK and 0 <= plain <= _PACK):
        raise ValueError("an impossible place")
    return Place(_id(blob["id"]), offset, length, plain)


def check_size(place: Place, most: int) -> None:
    """Refuse a blob that is too large to be read into memory.

    :param most: bytes that it may have
    :raises DamagedError: it has more
    """
    if place.size > most or place.length > most + most // 64:
        raise DamagedError(
            f"Blob {place.id.hex()[:8]} in the repository is too large: {place.size:,} bytes."
        )
