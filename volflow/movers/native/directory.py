"""A repository's directory: its files are written once, whole, and durable.

As restic's local back end does it, a file is first written under a temporary name in the directory
that it belongs to, then renamed. A process that is killed can leave such a file. Its name contains
``-tmp-volflow-``; restic ignores it, and so does every reader. :meth:`Directory.clean` removes old
ones. Nothing removes those of restic, which contain ``-tmp-`` and digits.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path

from volflow.errors import NoRepositoryError, RepositoryError
from volflow.movers.native.crypto import Buffer, DamagedError
from volflow.movers.native.memory import Memory, up

_NAME = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = "-tmp-volflow-"
# Seconds after which no process writes to a temporary file any more.
_OLD = 24 * 3600.0
# Bytes of the largest file that is read as a whole.
_MOST = 128 * 2**20


class Kind(StrEnum):
    """What a file is; its value is the name of its directory."""

    PACK = "data"
    INDEX = "index"
    SNAPSHOT = "snapshots"
    LOCK = "locks"

    @property
    def shown(self) -> str:
        """Its name for people."""
        return {"data": "Pack", "index": "Index", "snapshots": "Snapshot", "locks": "Lock"}[self]


class Directory:
    """The files of a repository in a local directory.

    :param path: the directory
    :raises NoRepositoryError: there is no repository
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            readable = stat.S_IMODE(os.stat(path / "config").st_mode)
        except FileNotFoundError as error:
            raise NoRepositoryError(
                f"There is no repository in {path}; 'volflow repository init' creates one."
            ) from error
        # As restic: what the group may do with the configuration, it may do with all files.
        self._mode = 0o400 | (readable & 0o040)
        self._parent_mode = 0o700 | (0o050 if readable & 0o040 else 0)

    @property
    def writable(self) -> bool:
        """Whether files can be written here at all."""
        return os.access(self.path / Kind.LOCK, os.W_OK)

    def path_of(self, kind: Kind, name: str) -> Path:
        """Where a file is."""
        if kind is Kind.PACK:
            return self.path / kind / name[:2] / name
        return self.path / kind / name

    def names(self, kind: Kind) -> set[str]:
        """The names of all files of a kind but packs."""
        return {name for name in os.listdir(self.path / kind) if _NAME.fullmatch(name)}

    def newest(self, kind: Kind) -> list[str]:
        """The names of all files of a kind but packs, the newest first.

        :raises FileNotFoundError: one is gone meanwhile
        """
        names = self.names(kind)
        times = {name: os.stat(self.path_of(kind, name)).st_mtime_ns for name in names}
        return sorted(names, key=lambda name: -times[name])

    def config(self) -> bytes:
        """The file with the configuration."""
        return self._read(self.path / "config")

    def read(self, kind: Kind, name: str) -> bytes:
        """A whole file.

        :raises FileNotFoundError: it does not exist
        :raises DamagedError: its content does not belong to its name
        """
        if not _NAME.fullmatch(name):
            raise DamagedError(f"{kind.shown} '{name[:80]}' has an impossible name.")
        found = self._read(self.path_of(kind, name))
        if hashlib.sha256(found).hexdigest() != name:
            raise DamagedError(
                f"{kind.shown} {name[:8]} in the repository is damaged. 'restic check' tells what "
                "else is."
            )
        return found

    def read_part(self, name: str, offset: int, length: int) -> bytes:
        """A part of a pack.

        :raises DamagedError: the pack is missing, or shorter
        """
        try:
            file = os.open(self.path_of(Kind.PACK, name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise DamagedError(
                f"Pack {name[:8]} is missing in the repository {self.path}: 'restic check' tells "
                "what else is."
            ) from error
        try:
            parts = []
            while length and (part := os.pread(file, length, offset)):
                parts.append(part)
                offset, length = offset + len(part), length - len(part)
        finally:
            os.close(file)
        if length:
            raise DamagedError(
                f"Pack {name[:8]} in the repository {self.path} is too short: 'restic check' tells "
                "what else is damaged."
            )
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @staticmethod
    def _read(path: Path) -> bytes:
        with open(path, "rb") as file:
            found = file.read(_MOST + 1)
        if len(found) > _MOST:
            raise RepositoryError(f"{path} is too large: more than {_MOST:,} bytes.")
        return found

    def write(self, kind: Kind, parts: Sequence[Buffer]) -> str:
        """Write a file; returns its name. It is durable when this returns.

        :param parts: its content
        :raises OSError: it cannot be written
        """
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        return self._write(kind, digest.hexdigest(), lambda file: _write_all(file, parts), 0)

    def write_pack(self, memory: Memory, size: int) -> str:
        """Write a pack; returns its name. It is durable when this returns.

        It goes past the page cache where the file system allows it: nobody reads it soon.

        :param size: its bytes, at the beginning of the memory
        :raises OSError: it cannot be written
        """
        content = memory.view[:size]
        name = hashlib.sha256(content).hexdigest()

        def direct(file: int) -> None:
            _write_all(file, [memory.view[: up(size)]])
            os.ftruncate(file, size)

        try:
            return self._write(Kind.PACK, name, direct, os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return self._write(Kind.PACK, name, lambda file: _write_all(file, [content]), 0)

    def _write(self, kind: Kind, name: str, fill: Callable[[int], None], flags: int) -> str:
        path = self.path_of(kind, name)
        temporary = path.with_name(f"{name}{_TEMPORARY}{os.getpid()}")
        try:
            file = self._create(temporary, flags)
            try:
                fill(file)
                os.fchmod(file, self._mode)
                os.fsync(file)
            finally:
                os.close(file)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        self._settle(path.parent)
        return name

    def _create(self, path: Path, flags: int) -> int:
        flags |= os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            path.parent.mkdir(mode=self._parent_mode, exist_ok=True)
            return os.open(path, flags, 0o600)

    @staticmethod
    def _settle(directory: Path) -> None:
        """Make the names in a directory durable."""
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

    def remove(self, kind: Kind, name: str) -> None:
        """Remove a file; one that is gone is no error."""
        path = self.path_of(kind, name)
        path.unlink(missing_ok=True)
        self._settle(path.parent)

    def clean(self) -> int:
        """Remove old temporary files of this module; returns their number."""
        before, removed = time.time() - _OLD, 0
        for kind in Kind:
            for parent, _, names in os.walk(self.path / kind):
                for name in names:
                    path = Path(parent, name)
                    if _TEMPORARY in name and path.lstat().st_mtime < before:
                        path.unlink(missing_ok=True)
                        removed += 1
        return removed


def _write_all(file: int, parts: Sequence[Buffer]) -> None:
    """Write everything, some parts at a time."""
    left = [memoryview(part) for part in parts if len(part)]
    place = 0
    while place < len(left):
        # At most 1024 (IOV_MAX).
        done = os.writev(file, left[place : place + 512])
        while place < len(left) and done >= len(left[place]):
            done -= len(left[place])
            place += 1
        if done:
            left[place] = left[place][done:]
