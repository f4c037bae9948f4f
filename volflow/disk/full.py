"""Recognises that a file system is full."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from volflow.disk import room
from volflow.errors import (
    BackupNotFoundError,
    FullError,
    HostError,
    NoRepositoryError,
    PasswordError,
    StoppedError,
    UsageError,
    VolflowError,
)
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.host.program import undisturbed

LOG = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)
# The program must not depend on installed packages or on the environment.
_ROOM = (sys.executable, "-I", "-S", room.__file__)
# What a file system with fixed inodes must still have for a program that makes files.
_FEW = 16
# A file system with less free space than this, or than this part of what was written, may have been
# full for a moment: some reserve more than they need for what is not yet on the disk.
_DOUBTFUL, _PART = 256 * 2**20, 16
# These have other reasons.
_OTHERS = (
    *(UsageError, StoppedError),
    *(BackupNotFoundError, NoRepositoryError, PasswordError),
)


class Watch:
    """Tells whether a file system may have been full while a loop device wrote to a file in it.

    A loop device takes a write of which its file took only a part for a complete one: nothing
    reports that the rest is lost.

    :param directory: a directory of the file system
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._most = self._least = self._free()

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def look(self) -> None:
        """Look how much is free now."""
        self._least = min(self._least, self._free())

    @property
    def doubtful(self) -> bool:
        """Whether what was written must be read to know that it is there."""
        self.look()
        return self._least < max(_DOUBTFUL, (self._most - self._least) // _PART)


@dataclass(frozen=True)
class Room:
    """What a file system can still take.

    :ivar free: bytes
    :ivar inodes: free ones; None where the file system does not count them
    :ivar refuses: the number of the error with which it refuses a small file; 0 if it takes one
    """

    free: int
    inodes: int | None = None
    refuses: int = 0

    def problem(self, needed: int = room.ENOUGH) -> str:
        """Why it cannot take more, as the end of a sentence; empty if it can.

        :param needed: the bytes that it must be able to take
        """
        if self.refuses == errno.EROFS:
            return "is read-only: check how it is mounted, and what the kernel log says"
        if self.refuses == errno.EIO:
            return "reports errors when it is written to: check its disk and the kernel log"
        if self.refuses == errno.EDQUOT:
            return f"has reached its disk quota ({self.free:,} bytes free)"
        if self.free >= needed and self.inodes is not None and self.inodes < _FEW:
            return f"is full: it has {self.inodes} free inodes, and {self.free:,} bytes free"
        if self.refuses == errno.ENOSPC or self.free < room.ENOUGH:
            return f"is full ({self.free:,} bytes free)"
        if self.free < needed:
            return f"is full: it has only {self.free:,} bytes free"
        return ""

    @property
    def unusable(self) -> bool:
        """Whether it refuses everything, whatever its room."""
        return self.refuses in (errno.EROFS, errno.EIO)

    @property
    def full(self) -> bool:
        """Whether space, inodes or a quota is used up."""
        return bool(self.problem()) and not self.unusable


def look(runs: Privilege | MountNamespace, directories: Sequence[Path]) -> list[Room]:
    """What the file systems of these directories, or of their nearest existing parents, can take.

    :returns: nothing if they cannot be examined: something else has failed already
    """
    try:
        with undisturbed():
            return [Room(**each) for each in json.loads(runs.run(*_ROOM, *map(str, directories)))]
    except (HostError, ValueError, TypeError) as error:
        LOG.debug("Cannot look for free space: %s", error)
        return []


def look_here(directory: Path) -> Room | None:
    """What the file system of a directory can take from this process."""
    try:
        return Room(**room.look(room.nearest(str(directory))))
    except OSError as error:
        LOG.debug("Cannot look for free space: %s", error)
        return None


def needs(target: Path, size: int) -> None:
    """Refuse a target before anything is written if its file system has less room than is needed.

    :param size: the bytes that will be written at least
    :raises FullError: they do not fit
    :raises HostError: it is read-only
    """
    found = look_here(target)
    if found is None:
        return
    if found.refuses == errno.EROFS:
        raise HostError(f"{target} cannot be written: its file system {found.problem()}.")
    if found.free < size:
        raise FullError(
            f"{target} cannot be written: it needs {size:,} bytes, and its file system has "
            f"{found.free:,} bytes free. Free some space there, or name another place."
        )


@contextmanager
def told(target: Path, directory: Path) -> Iterator[None]:
    """Say that the target's file system is full if the block fails for that reason.

    A program that writes to a file system in a file is only told of an input or output error.

    :param target: what the block writes
    :param directory: an existing directory of the same file system
    :raises FullError: the file system is full
    :raises HostError: the block could not write to it
    """
    try:
        yield
    except _OTHERS:
        raise
    except (VolflowError, OSError) as error:
        said = error.said if isinstance(error, FullError) else str(error)
        found = look_here(directory)
        full = isinstance(error, FullError) or _names_it(error)
        if full or (found and found.full):
            why = found.problem() if found and found.full else "is full"
            raise FullError(
                f"{target} could not be written, because its file system {why}: free some space "
                f"there, or name another place. {said}",
                said,
            ) from error
        if found and (why := found.problem()):
            raise HostError(
                f"{target} could not be written, because its file system {why}. {said}"
            ) from error
        if isinstance(error, OSError):
            raise HostError(f"{target} could not be written: {error}") from error
        raise


def _names_it(error: Exception) -> bool:
    # What programs say contains names of files, which anybody can choose.
    return isinstance(error, OSError) and error.errno in _FULL
