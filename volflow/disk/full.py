"""Recognises that a file system is full."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

_FULL = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(os.strerror(number).lower() for number in _FULL)
# What a file system must still take to be not full. One that is full may take a few blocks.
_ROOM = 2**20
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
        if _names_it(error) or _takes_nothing(directory):
            raise FullError(
                f"{target} could not be written, because its file system is full: free some space "
                f"there, or name another place. {said}",
                said,
            ) from error
        if isinstance(error, OSError):
            raise HostError(f"{target} could not be written: {error}") from error
        raise


def _names_it(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _FULL
    # Of other errors, what a program has said: it writes nowhere else.
    words = isinstance(error, HostError) and any(each in str(error).lower() for each in _WORDS)
    return words or isinstance(error, FullError)


def _takes_nothing(directory: Path) -> bool:
    """Whether nothing more can be written to a directory, for lack of space or by a quota."""
    try:
        # It has no name, and so never remains.
        file = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except OSError as error:
        # Not every file system has such files.
        return error.errno in _FULL or shutil.disk_usage(directory).free < _ROOM
    try:
        os.posix_fallocate(file, 0, _ROOM)
    except OSError as error:
        return error.errno in _FULL
    finally:
        os.close(file)
    return False
