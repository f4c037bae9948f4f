"""Saving a directory of this host as a backup, as a run saves a volume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.movers.base import MANIFEST, MountedTree, Mover, RawImage, Saved
from volflow.results.outcome import CopyProgress

REGION = Path("regions/0")
TAGS = {"volume": "v", "name": "a volume, named=so", "run": ""}


def save(
    mover: Mover,
    namespace: MountNamespace,
    *regions: Path,
    images: Sequence[RawImage] = (),
    manifest: str = "{}",
    tags: Mapping[str, str] = TAGS,
    parent_id: str | None = None,
    progress: Callable[[CopyProgress], None] = lambda _: None,
    stopping: threading.Event | None = None,
    confirmed: bool = True,
) -> Saved:
    """Save the file systems that are mounted in a namespace.

    :param regions: their paths; one unless given, or none if there are images
    :param images: what to save beside them
    :param confirmed: store the verdict too
    """
    namespace.write(namespace.root / MANIFEST, manifest)
    listed_at = datetime.now(UTC)
    trees = regions or (() if images else (REGION,))
    saved = mover.save(
        namespace,
        [*(MountedTree(path) for path in trees), *images],
        volume_id=tags.get("volume", "v"),
        tags=tags,
        listed_at=listed_at,
        parent_id=parent_id,
        progress=progress,
        stopping=stopping or threading.Event(),
    )
    if confirmed:
        confirm(mover, namespace, saved, tags=tags, listed_at=listed_at)
    return saved


def confirm(
    mover: Mover,
    namespace: MountNamespace,
    saved: Saved,
    *,
    tags: Mapping[str, str],
    listed_at: datetime | None = None,
) -> None:
    """Store the verdict on a copy: the manifest that is in the namespace."""
    unread = {"unread": str(len(saved.unread))} if saved.unread else {}
    mover.confirm(
        namespace,
        saved.id,
        volume_id=tags.get("volume", "v"),
        tags={**tags, **unread},
        listed_at=listed_at or datetime.now(UTC),
        stopping=threading.Event(),
    )


def save_directory(
    mover: Mover,
    directory: Path,
    *,
    manifest: str = "{}",
    tags: Mapping[str, str] = TAGS,
    parent_id: str | None = None,
    confirmed: bool = True,
) -> Saved:
    """Save a directory of this host."""
    with directory_namespace(directory) as namespace:
        return save(
            mover,
            namespace,
            manifest=manifest,
            tags=tags,
            parent_id=parent_id,
            confirmed=confirmed,
        )


@contextmanager
def directory_namespace(directory: Path) -> Iterator[MountNamespace]:
    """A namespace in which a directory of this host is the first region."""
    root = directory.parent / "mount"
    root.mkdir(exist_ok=True)
    namespace = MountNamespace(Privilege(), root)
    try:
        namespace.bind(directory, namespace.root / REGION)
        yield namespace
    finally:
        namespace.close()
