"""A repository that is open: its configuration, index, snapshots and blobs together."""

from __future__ import annotations

import threading
from pathlib import Path

from volflow.errors import RepositoryError
from volflow.movers.native import blobs, documents, index, trees
from volflow.movers.native.blobs import BlobKind, Place
from volflow.movers.native.crypto import Buffer, DamagedError, Key
from volflow.movers.native.directory import Directory, Kind
from volflow.movers.native.index import Index
from volflow.movers.native.known import Known
from volflow.movers.native.locks import Lock
from volflow.movers.native.packs import Pack, Packer
from volflow.movers.native.snapshots import Snapshots

VERSION = 2
# Ids of blobs to know, apart from those that are wanted: 36 bytes of memory each. What is not known
# is stored again.
_MOST = 2_000_000


def is_native(path: Path, key: Key) -> bool:
    """Whether a directory has a repository that :class:`Store` reads and writes.

    :raises NoRepositoryError: there is no repository
    :raises RepositoryError: the key is another
    """
    directory = Directory(path)
    config = documents.unseal_object(key, directory.config(), "The configuration")
    # An old layout of restic has other names.
    return config.get("version") == VERSION and all((path / kind).is_dir() for kind in Kind)


class Store:
    """A repository of version 2 in a local directory.

    :param path: the directory
    :param key: its master key
    :raises NoRepositoryError: there is no repository
    :raises RepositoryError: it has another version, or another key
    """

    def __init__(self, path: Path, key: Key) -> None:
        self.directory = Directory(path)
        self.key = key
        config = documents.unseal_object(key, self.directory.config(), "The configuration")
        if config.get("version") != VERSION:
            raise RepositoryError(
                f"The repository {path} has version {config.get('version')}, not {VERSION}."
            )
        self.id = str(config.get("id"))
        self.index = Index(self.directory, key)
        self.snapshots = Snapshots(self.directory, key)
        self._known = Known()
        self._guard = threading.Lock()

    def lock(self) -> Lock:
        """A lock on it."""
        return Lock(self.directory, self.key)

    def know(self, wanted: Known) -> None:
        """Learn which blobs of data it has.

        :param wanted: ids that are learnt in any case; of others only a limited number
        :raises RepositoryError: its index cannot be read
        """

        def start() -> None:
            self._known = Known()

        def found(_: bytes, kind: BlobKind, place: Place) -> None:
            if kind is BlobKind.DATA and (len(self._known) < _MOST or place.id in wanted):
                self._known.add(place.id)

        self.index.read(found, start)

    def has(self, blob_id: bytes) -> bool:
        """Whether it has a blob of data, or a writer is about to store it."""
        with self._guard:
            return blob_id in self._known

    def claim(self, blob_id: bytes) -> bool:
        """Announce that a blob of data is about to be stored; returns whether it must be."""
        with self._guard:
            return self._known.add(blob_id)

    def written(self, pack: Pack) -> None:
        """A pack was written.

        :raises OSError: the index cannot be written
        """
        with self._guard:
            self.index.add(pack)

    def missing(self, ids: Known) -> Known:
        """Which of these blobs of data the repository has not, by its index as it is now.

        :raises RepositoryError: its index cannot be read
        """
        self.know(ids)
        lost = Known()
        for blob_id in ids:
            if blob_id not in self._known:
                lost.append(blob_id)
        return lost

    def _read(self, pack: bytes, place: Place) -> bytes:
        """The content of a tree.

        :raises DamagedError: it is not what was stored
        """
        index.check_size(place, blobs.MOST_OF_TREE)
        sealed = self.directory.read_part(pack.hex(), place.offset, place.length)
        return blobs.unseal(self.key, place, sealed)

    def tree(self, tree_id: bytes) -> list[trees.Node]:
        """The nodes of a tree.

        :raises DamagedError: it is missing or damaged
        """
        found = self.index.locate({tree_id})
        if tree_id not in found:
            raise DamagedError(
                f"Tree {tree_id.hex()[:8]} is missing in the repository {self.directory.path}: "
                "'restic check' tells what else is."
            )
        return trees.decode(self._read(*found[tree_id]), f"Tree {tree_id.hex()[:8]}")

    def node(self, tree_id: bytes, path: Path) -> trees.Node:
        """The node with this path, relative to a tree.

        :raises RepositoryError: there is none
        """
        *parents, name = path.parts
        for parent in parents:
            tree_id = trees.subtree_of(trees.find(self.tree(tree_id), parent), parent)
        if (node := trees.find(self.tree(tree_id), name)) is None:
            raise RepositoryError(f"The backup has no file '{path}'.")
        return node


class BlobWriter:
    """Stores blobs of one kind. Each thread has its own.

    :ivar stored: bytes of the blobs that were stored
    """

    def __init__(self, store: Store, kind: BlobKind) -> None:
        self._store = store
        self._packer = Packer(store.directory, store.key, kind)
        self.stored = 0

    def put(self, blob_id: bytes, content: Buffer) -> None:
        """Store a blob. It is in the repository after :meth:`flush`.

        :raises OSError: it cannot be written
        """
        self.stored += len(content)
        self._written(self._packer.add(blob_id, *blobs.pack(content)))

    def flush(self) -> None:
        """Write what is left.

        :raises OSError: it cannot be written
        """
        self._written(self._packer.flush())

    def _written(self, pack: Pack | None) -> None:
        if pack:
            self._store.written(pack)
