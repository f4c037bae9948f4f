"""Images of ranges of devices in snapshots of restic, as ordinary files.

restic reads only files: a small program shows each range as one. It also reads what restic dumps,
and writes it to the range, or compares it.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from volflow.disk import imaging, serving
from volflow.errors import HostError, RepositoryError
from volflow.host.namespace import MountNamespace
from volflow.host.program import Program, undisturbed
from volflow.movers.base import RawImage
from volflow.movers.restic.program import ResticProgram
from volflow.movers.stall import StallGuard
from volflow.printable import printable
from volflow.results.outcome import CopyProgress

_EPOCH = datetime.fromtimestamp(0, UTC)
_ALONE = (sys.executable, "-I", "-S")


@contextmanager
def shown(
    namespace: MountNamespace, images: Sequence[RawImage], modified_at: datetime
) -> Iterator[None]:
    """Show the range of each image as a file at its path below the namespace's root.

    :param modified_at: the time of the last change of these files. Their ctime is now: restic takes
        no file for unchanged, whatever it knows of another backup
    :raises HostError: they cannot be shown; or what showed them has ended before the block has, and
        whoever has read them has not read everything
    """
    if not images:
        yield
        return
    if namespace.run("sh", "-c", "[ -c /dev/fuse ] || echo no"):
        raise HostError("This host has no /dev/fuse: load the kernel module 'fuse'.")
    modified = (modified_at - _EPOCH) // timedelta(microseconds=1) * 1000
    arguments: list[str] = []
    for image in images:
        path = namespace.root / image.path
        arguments += [str(path), image.device, str(image.start), str(image.size)]
    with namespace.start(*_ALONE, serving.__file__, str(modified), *arguments) as process:
        process.name = "the program that shows images to restic"
        try:
            # It prints a line when all are shown, and ends if they cannot be.
            if next(process.records(b"\n"), None) is None:
                raise _ended(process)
            yield
            if process.ended:
                raise _ended(process)
        finally:
            with undisturbed():
                _hide(namespace, images)


def _ended(process: Program) -> HostError:
    process.wait()
    return HostError(
        "What is stored as an image cannot be shown to restic: "
        f"{printable(process.said().strip()) or 'the program that shows it was ended'}"
    )


def _hide(namespace: MountNamespace, images: Sequence[RawImage]) -> None:
    """Unmount the files and remove what they were mounted on; not all need to be there."""
    paths = [shlex.quote(str(namespace.root / image.path)) for image in images]
    # A program that was killed may still have one open.
    lines = [f"! mountpoint -q {path} || umount --lazy {path}; rm -f {path}" for path in paths]
    namespace.run("sh", stdin="set -e\n" + "\n".join(lines) + "\n")


def restore(
    program: ResticProgram,
    namespace: MountNamespace,
    backup_id: str,
    image: RawImage,
    *,
    blank: bool,
    progress: Callable[[CopyProgress], None],
    stopping: threading.Event,
) -> None:
    """Write an image of a backup to its range of a device. It is durable on return."""
    action = "blank" if blank else "write"
    found = _through(program, namespace, backup_id, image, action, progress, stopping)
    if "failed" in found:
        raise HostError(
            f"The image {image.path} could not be restored: {found['failed']}. Check the volume's "
            "storage and the kernel log."
        )


def compare(
    program: ResticProgram,
    namespace: MountNamespace,
    backup_id: str,
    image: RawImage,
    *,
    progress: Callable[[CopyProgress], None],
    stopping: threading.Event,
) -> None:
    """Compare the range of a device with an image of a backup."""
    found = _through(program, namespace, backup_id, image, "compare", progress, stopping)
    if "failed" in found:
        raise HostError(f"What was restored of {image.path} cannot be read: {found['failed']}.")
    if "differs" in found:
        first = found["differs"]
        raise HostError(
            f"What was restored differs from what is stored: {image.path} at byte {first:,}, which "
            f"is byte {image.start + first:,} of {image.device}."
        )


def _through(
    program: ResticProgram,
    namespace: MountNamespace,
    backup_id: str,
    image: RawImage,
    action: str,
    progress: Callable[[CopyProgress], None],
    stopping: threading.Event,
) -> dict[str, Any]:
    """Hand the stored image to the program; returns what it has found, if anything."""
    watch = StallGuard(stopping, program.settings.stall_limit)
    if not watch.stopped:
        _check_size(image, _stored_size(program, backup_id, image))
    found: dict[str, Any] = {}

    def read(line: str) -> None:
        message = json.loads(line)
        if "bytes" in message:
            copied = CopyProgress(0, 1, message["bytes"], image.size)
            watch.at(copied)
            progress(copied)
        else:
            found.update(message)

    to = (action, image.device, str(image.start), str(image.size))
    command = ["dump", backup_id, f"/{image.path}"]
    status, errors = program.follow(
        namespace, command, read, watch, through=(*_ALONE, imaging.__file__, *to)
    )
    if "size" in found:
        _check_size(image, found["size"])
    if status and not found:
        raise program.error("dump", status, errors, namespace=namespace)
    return found


def _stored_size(program: ResticProgram, backup_id: str, image: RawImage) -> int:
    """The size of a stored image, of which nothing is believed.

    :raises RepositoryError: the backup does not have it
    """
    path = f"/{image.path}"
    for line in program.lines("ls", "--json", "--no-lock", backup_id, path):
        node = json.loads(line)
        if node.get("struct_type") == "node" and node.get("path") == path:
            size = node.get("size", 0)
            if node.get("type") == "file" and isinstance(size, int):
                return size
    raise RepositoryError(f"The backup {backup_id[:8]} has no image {image.path}.")


def _check_size(image: RawImage, size: int) -> None:
    if size != image.size:
        raise HostError(
            f"The stored image {image.path} has {size:,} bytes, and its range of {image.device} "
            f"has {image.size:,}: it does not belong there. Check the repository with 'volflow "
            "repository check'."
        )
