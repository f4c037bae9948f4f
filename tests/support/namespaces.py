"""Images of file systems, mounted in a namespace as volflow mounts volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.cloud import run
from volflow.disk.filesystem import FileSystem
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege


def missing() -> str:
    """Why this host cannot mount images; empty if it can."""
    if os.geteuid() != 0:
        return "mounting an image in a namespace needs root"
    if not os.path.exists("/dev/loop-control"):
        return "mounting an image needs loop devices, and /dev/loop-control does not exist"
    return ""


def new_image(path: Path, size: int) -> Path:
    """Make an image of this many bytes with an empty ext4."""
    with open(path, "wb") as file:
        file.truncate(size)
    run("mkfs.ext4", "-q", "-F", "-I", "512", str(path))
    return path


@contextmanager
def mounted(
    directory: Path, images: dict[Path, Path], *, read_only: bool = False
) -> Iterator[tuple[MountNamespace, Path]]:
    """A namespace with mounted images, and its root's path inside and outside the namespace.

    :param images: the image for each path below the namespace's root
    """
    root = directory / "mount"
    root.mkdir(exist_ok=True)
    namespace = MountNamespace(Privilege(), root)
    try:
        for path, image in images.items():
            options = ["loop", *FileSystem("ext4", "").mount_options(read_only=read_only)]
            namespace.mount(str(image), namespace.root / path, "ext4", options)
        with visible(namespace) as seen:
            yield namespace, seen
        namespace.unmount()
    finally:
        namespace.close()


@contextmanager
def visible(namespace: MountNamespace) -> Iterator[Path]:
    """The path of a namespace's root for processes outside of the namespace."""
    with namespace.start("sh", "-c", "echo $$; exec sleep infinity") as process:
        pid = next(process.records(b"\n")).decode()
        yield Path(f"/proc/{pid}/root{namespace.root}")
