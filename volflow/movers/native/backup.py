"""Adds images to a snapshot of restic."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from volflow.errors import HostError, RepositoryError
from volflow.movers.native import blobs, chunks, trees, upkeep
from volflow.movers.native.blobs import ID, BlobKind
from volflow.movers.native.chunks import ChunkMap
from volflow.movers.native.device import Device, UnreadableError
from volflow.movers.native.known import Known
from volflow.movers.native.saving import Contents, Saver, settle
from volflow.movers.native.snapshots import Snapshot
from volflow.movers.native.store import BlobWriter, Store

LOG = logging.getLogger(__name__)

# Nodes of a snapshot to read on the way to an image, at most: a directory in a directory.
_DEPTH = 16
_DIGITS = re.compile(r"\d{1,9}")


@dataclass(frozen=True)
class Image:
    """A range of a device, and its file in the backup.

    :ivar path: in the backup, relative
    """

    path: Path
    device: Path
    start: int
    size: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Image:
        """The image in a job."""
        return cls(
            Path(document["path"]),
            Path(document["device"]),
            int(document["start"]),
            int(document["size"]),
        )

    def opened(self, *, write: bool = False) -> Device:
        """Its range, to be opened."""
        return Device(self.device, self.start, self.size, write=write)

    @property
    def inode(self) -> int:
        """The number of its file, the same in all backups."""
        found = _DIGITS.match(self.path.stem)
        return int(found.group()) + 1 if found else 1


@dataclass(frozen=True)
class Stored:
    """What was stored.

    :ivar id: of the new snapshot
    :ivar stored: bytes of the chunks that the repository did not have
    :ivar changed: how many images differ from the last backup, or have none
    :ivar unread: the paths of the images that could not be read, and are not in the backup
    """

    id: str
    stored: int
    changed: int
    unread: tuple[str, ...] = ()


class Backup:
    """Stores the images of a backup.

    :param store: the repository
    :param images: different paths
    :param maps: the directory for the maps of chunks of all volumes; None if there are to be none
    :param volume: the id of the volume
    :param full: nothing is taken from the maps
    :param modified: the time of the data
    """

    def __init__(
        self,
        store: Store,
        images: Sequence[Image],
        *,
        maps: Path | None,
        volume: str,
        full: bool,
        modified: datetime,
    ) -> None:
        self._store = store
        self._images = images
        self._maps = maps
        self._volume = volume
        self._full = full
        self._modified = modified
        self._chunk = chunks.size_for(sum(image.size for image in images))

    def save(
        self,
        snapshot_id: str,
        stored_at: Callable[[], str],
        threads: int,
        report: Callable[[int], None],
    ) -> Stored:
        """Replace a snapshot by one with the images.

        :param snapshot_id: a snapshot that this process alone knows
        :param stored_at: the time now, as the tag ``stored`` has it
        :raises RepositoryError: the repository is damaged, locked, or loses data
        :raises HostError: a device cannot be opened
        :raises OSError: the repository cannot be written to
        """
        store = self._store
        with store.lock().held() as lock, ExitStack() as stack:
            if self._maps:
                upkeep.daily(self._maps, store)
            snapshot_id = store.snapshots.full_id(snapshot_id)
            snapshot = store.snapshots.read(snapshot_id)
            devices = [stack.enter_context(image.opened().opened()) for image in self._images]
            before = [self._map(image) for image in self._images]
            wanted = Known()
            for each in before:
                if each:
                    each.ids(wanted)
            store.know(wanted)
            saver = Saver(store, self._chunk, threads, report)
            images, stored = [], []
            for image, device, old in zip(self._images, devices, before, strict=True):
                after = ChunkMap(-(-device.size // self._chunk))
                try:
                    stored.append((device, saver.save(device, old, after), after))
                except UnreadableError:
                    LOG.warning("%s could not be read", image.path, exc_info=True)
                else:
                    images.append(image)
            settle(store, saver, stored)
            contents = [each for _, each, _ in stored]
            self._add(snapshot, images, contents)
            lock.check()
            _note_stored(snapshot, stored_at())
            new_id = store.snapshots.write(snapshot)
            # From here on, both are copies of the same run, and the later one counts.
            store.snapshots.remove(snapshot_id)
        changed = [each.stored > 0 for each in contents]
        for image, (_, _, after) in zip(images, stored, strict=True):
            if path := self._map_path(image):
                after.save(path, self._bound(image))
        unread = tuple(str(image.path) for image in self._images if image not in images)
        return Stored(new_id, sum(each.stored for each in contents), sum(changed), unread)

    def _map_path(self, image: Image) -> Path | None:
        if self._maps is None:
            return None
        return self._maps / quote(self._volume, safe="") / quote(str(image.path), safe="")

    def _bound(self, image: Image) -> str:
        return f"{self._store.id} {self._chunk} {image.size}"

    def _map(self, image: Image) -> ChunkMap | None:
        path = self._map_path(image)
        if path is None or self._full:
            return None
        found = ChunkMap(-(-image.size // self._chunk))
        return found if found.load(path, self._bound(image)) else None

    def _add(
        self, snapshot: Snapshot, images: Sequence[Image], contents: Sequence[Contents]
    ) -> None:
        """Store the trees of a snapshot with the images."""
        writer = BlobWriter(self._store, BlobKind.TREE)
        tree = bytes.fromhex(str(snapshot["tree"]))
        new: dict[tuple[str, ...], trees.Node] = {}
        for image, content in zip(images, contents, strict=True):
            new[image.path.parts] = trees.file(
                image.path.name,
                image.size,
                [blob_id.hex() for blob_id in content.each()],
                self._modified,
                image.inode,
            )
        snapshot["tree"] = self._graft(writer, tree, new).hex()
        writer.flush()
        self._store.index.flush()
        _note_files(snapshot, images)

    def _graft(
        self, writer: BlobWriter, tree: bytes | None, new: Mapping[tuple[str, ...], trees.Node]
    ) -> bytes:
        """Store a tree with new nodes; returns its id.

        :param tree: the id of the tree before; None if there was none
        :param new: by their paths
        """
        nodes = self._store.tree(tree) if tree else []
        below: dict[str, dict[tuple[str, ...], trees.Node]] = {}
        for (name, *rest), node in new.items():
            if rest:
                below.setdefault(name, {})[tuple(rest)] = node
            else:
                nodes = trees.with_node(nodes, node)
        for name, some in below.items():
            there = trees.find(nodes, name)
            old = trees.subtree_of(there, name) if there else None
            subtree = self._graft(writer, old, some)
            added = {**there, "subtree": subtree.hex()} if there else None
            nodes = trees.with_node(
                nodes, added or trees.directory(name, subtree, self._modified, 1)
            )
        content = trees.encode(nodes)
        tree_id = blobs.id_of(content)
        if len(content) > blobs.MOST_OF_TREE:
            raise RepositoryError("The images have too many chunks for one backup.")
        writer.put(tree_id, content)
        return tree_id


def _note_stored(snapshot: Snapshot, stored_at: str) -> None:
    """Give a snapshot the time when it was stored, later than that of the one that it replaces."""
    tags = [tag for tag in snapshot.get("tags") or [] if not str(tag).startswith("stored=")]
    snapshot["tags"] = [*tags, f"stored={stored_at}"]


def _note_files(snapshot: Snapshot, images: Sequence[Image]) -> None:
    """Count the images where a newer restic counts the files, and name their directory."""
    total = sum(image.size for image in images)
    summary = snapshot.get("summary")
    if isinstance(summary, dict):
        for name, more in (
            ("files_new", len(images)),
            ("total_files_processed", len(images)),
            ("total_bytes_processed", total),
        ):
            if isinstance(summary.get(name), int):
                summary[name] += more
    paths = [str(path) for path in snapshot.get("paths") or []]
    if paths:
        parent = Path(paths[0]).parent
        tops = (str(parent / image.path.parts[0]) for image in images)
        snapshot["paths"] = list(dict.fromkeys([*paths, *tops]))


def content_of(store: Store, snapshot_id: str, image: Image) -> bytes:
    """The ids of the blobs of an image, one after the other.

    :raises RepositoryError: the backup has no such file, or it is damaged
    :raises HostError: the file has another size than the range
    """
    snapshot = store.snapshots.read(snapshot_id)
    path = image.path
    if len(path.parts) > _DEPTH or path.is_absolute():
        raise RepositoryError(f"'{path}' is no path of an image.")
    node = store.node(trees.ids([snapshot.get("tree")], "/"), path)
    if node.get("type") != "file":
        raise RepositoryError(f"'{path}' in the backup is no file.")
    size = node.get("size", 0)
    if type(size) is not int:
        raise RepositoryError(f"'{path}' in the backup has no size.")
    if size != image.size:
        raise HostError(
            f"'{path}' in the backup has {size:,} bytes, and not {image.size:,} as its region."
        )
    found = trees.ids(node.get("content"), str(path))
    assert len(found) % ID == 0
    return found
