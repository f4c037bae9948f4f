"""Asks for the errors of what was written before anybody is told that it is there.

The kernel writes behind the back of a program. What it could not write it reports to whoever asks
it to have written everything, and to nobody else: not to ``umount`` either (fsync(2), syncfs(2)).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from volflow.errors import HostError, NoProgressError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege


def settle(runs: Privilege | MountNamespace, *places: Path) -> None:
    """Make durable everything that was written to the file systems of these places.

    :param places: absolute paths of files or directories; a directory's names are settled too
    :raises HostError: something could not be written
    """
    for place in places:
        # fsync first: it names the file, and reports also what only its directory has lost.
        for how in ((), ("--file-system",)):
            _sync(runs, place, *how)


def unmount(namespace: MountNamespace, *devices: str) -> None:
    """Unmount what was written to, and make it durable.

    :param devices: the block devices of the file systems, and then that which these are part of
    :raises HostError: something could not be written, or a file system stays busy
    """
    settle(namespace, *namespace.mounted)
    namespace.unmount()
    # What the unmount itself writes goes to the device.
    for device in devices:
        settle_device(namespace, device)


def settle_device(runs: Privilege | MountNamespace, device: str) -> None:
    """Make durable everything that was written to a block device.

    :raises HostError: something could not be written
    """
    _sync(runs, Path(device))


def _sync(runs: Privilege | MountNamespace, place: Path, *how: str) -> None:
    try:
        runs.run("sync", *how, str(place))
    except NoProgressError:
        raise
    except HostError as error:
        raise HostError(
            f"Not everything could be written to {place}: check its storage and the kernel log. "
            f"{error}"
        ) from error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[None]:
    """Create a file that only its owner can read, and settle it after the block has filled it.

    :raises OSError: something of it could not be written
    """
    # The kernel tells each descriptor only of the errors since it was opened.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
