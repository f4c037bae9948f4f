"""Saving a directory of this host as a backup, as a run saves a volume."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.movers.base import MANIFEST, MountedTree, Mover, Saved
from volflow.results.outcome import CopyProgress

REGION = Path("regions/0")
TAGS = {"volume": "v", "name": "a volume, named=so", "run": ""}


def save(
    mover: Mover,
    namespace: MountNamespace,
    *regions: Path,
    manifest: str = "{}",
    tags: Mapping[str, str] = TAGS,
    parent_id: str | None = None,
    progress: Callable[[CopyProgress], None] = lambda _: None,
    stopping: threading.Event | None = None,
) -> Saved:
    """Save the file systems that are mounted in a namespace."""
    namespace.write(namespace.root / MANIFEST, manifest)
    return mover.save(
        namespace,
        [MountedTree(path) for path in regions or (REGION,)],
        volume_id=tags.get("volume", "v"),
        tags=tags,
        parent_id=parent_id,
        progress=progress,
        stopping=stopping or threading.Event(),
    )


def save_directory(
    mover: Mover,
    directory: Path,
    *,
    manifest: str = "{}",
    tags: Mapping[str, str] = TAGS,
    parent_id: str | None = None,
) -> Saved:
    """Save a directory of this host."""
    root = directory.parent / "mount"
    root.mkdir(exist_ok=True)
    namespace = MountNamespace(Privilege(), root)
    try:
        namespace.bind(directory, namespace.root / REGION)
        return save(mover, namespace, manifest=manifest, tags=tags, parent_id=parent_id)
    finally:
        namespace.close()
