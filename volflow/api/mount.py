"""Mounting a backup at a directory of this host."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from volflow.context import Context
from volflow.errors import HostError, UsageError
from volflow.host.mount import unmount
from volflow.movers.base import StoredBackup
from volflow.repositories.contents import BackupContents

LOG = logging.getLogger(__name__)

# The guest wrote the files: this host must not run them, nor use its device files.
_OPTIONS = "ro,nosuid,nodev,noexec"
# Seconds between two checks whether restic still serves the backup.
_INTERVAL = 1.0


class MountedBackup:
    """A backup that is mounted.

    :ivar backup: the backup
    :ivar directory: where it is mounted
    """

    def __init__(
        self,
        backup: StoredBackup,
        directory: Path,
        ended: Callable[[], bool],
        stopping: threading.Event,
    ) -> None:
        self.backup = backup
        self.directory = directory
        self._ended = ended
        self._stopping = stopping

    def check(self) -> None:
        """Check that the backup is still served.

        :raises HostError: restic has ended
        """
        if self._ended():
            raise HostError("restic, which served the backup, has ended.")

    def wait(self) -> None:
        """Wait until ``volflow.stop`` is used, from another thread or a signal handler.

        :raises HostError: restic has ended
        """
        while not self._stopping.wait(_INTERVAL):
            self.check()


@contextmanager
def mounted(
    context: Context,
    find: Callable[[], StoredBackup],
    directory: Path,
    contents: Callable[[StoredBackup], BackupContents],
) -> Iterator[MountedBackup]:
    """Mount a backup read-only at a directory while the block runs.

    :param find: returns the backup; called after the directory was checked
    :param directory: an empty directory
    :param contents: returns the contents of the backup
    :raises UsageError: the directory does not exist, is not empty or cannot be read
    :raises HostError: this host has no FUSE, or restic could not mount the backup
    """
    directory = directory.absolute()
    _check_empty(directory)
    backup, privilege = find(), context.host.privilege
    privilege.check()
    served = context.directory(f"fuse-{backup.id[:8]}-{time.time_ns()}")
    try:
        with contents(backup).mounted(served) as found:
            privilege.run("mount", "--bind", "-o", _OPTIONS, str(found.path), str(directory))
            try:
                yield MountedBackup(backup, directory, found.ended, context.stop.event)
            finally:
                if not unmount(privilege, directory):
                    LOG.warning(
                        "%s is still in use; its files are no longer shown there.", directory
                    )
    finally:
        try:
            served.rmdir()
        except OSError as error:
            LOG.warning("%s could not be removed (%s): remove it later.", served, error.strerror)


def _check_empty(directory: Path) -> None:
    try:
        usable = directory.is_dir() and not any(directory.iterdir())
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be read ({error.strerror}). If a killed process left a mount "
            f"there, 'umount {directory}' removes it."
        ) from error
    if not usable:
        raise UsageError(f"{directory} is not an empty directory.")
