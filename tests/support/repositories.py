"""The repositories and movers under conformance tests, and the faults that can happen to them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tests.support import repository, restic
from tests.support.cloud import run
from tests.support.memory_repository import MemoryMover, MemoryRepository, Storage
from tests.support.rest_server import RestServer
from volflow.movers.base import Mover, Repository
from volflow.movers.native.mover import NativeMover
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.repository import ResticRepository

PASSWORD = "secret"
_PATIENCE = 60.0


class Subject(Protocol):
    """A repository that exists and is empty, and its mover.

    :ivar read_only_is_noticed: whether a read-only storage is reported within seconds
    """

    repository: Repository
    mover: Mover
    read_only_is_noticed: bool

    def elsewhere(self) -> Repository:
        """A repository of the same kind that does not exist yet."""
        ...

    def with_password(self, password: str) -> Repository:
        """The same repository, opened with another password."""
        ...

    def read_only(self) -> None:
        """Make the storage read-only until :meth:`close`."""
        ...

    def damage(self) -> None:
        """Damage all data that is stored."""
        ...

    def size(self) -> int:
        """The size of the storage in bytes."""
        ...

    @contextmanager
    def locked(self) -> Iterator[int]:
        """A process that holds a lock while the block runs, unless a test kills it."""
        ...

    def close(self) -> None: ...


class MemorySubject:
    """The repository in memory."""

    read_only_is_noticed = True

    def __init__(self) -> None:
        self._storage = Storage(PASSWORD)
        opened = MemoryRepository(self._storage, PASSWORD)
        self.repository: Repository = opened
        self.mover: Mover = MemoryMover(opened)

    def elsewhere(self) -> Repository:
        return MemoryRepository(Storage(), PASSWORD)

    def with_password(self, password: str) -> Repository:
        return MemoryRepository(self._storage, password)

    def read_only(self) -> None:
        self._storage.read_only = True

    def damage(self) -> None:
        for _, files in self._storage.backups.values():
            for name, entry in files.items():
                files[name] = replace(entry, content=entry.content[::-1] + b"damaged")

    def size(self) -> int:
        backups = [files for _, files in self._storage.backups.values()]
        found = [
            entry.content for files in backups + self._storage.removed for entry in files.values()
        ]
        return sum(map(len, found))

    @contextmanager
    def locked(self) -> Iterator[int]:
        with subprocess.Popen(["sleep", "infinity"]) as process:
            self._storage.locks.add(process.pid)
            try:
                yield process.pid
            finally:
                process.kill()

    def close(self) -> None:
        """Do nothing."""


class ResticSubject:
    """A version of restic, with its repository in a directory or behind a REST server.

    :param directory: for the repository, the password and the cache
    :param native: volflow itself stores and restores images
    """

    def __init__(
        self, directory: Path, program: str, *, rest: bool = False, native: bool = False
    ) -> None:
        self._directory, self._program, self._rest = directory, program, rest
        self._stack = ExitStack()
        self._place = directory / "repository"
        repository.make(self._place, PASSWORD)
        opened = restic.program(directory, restic=program, location=self._location(self._place))
        self.repository: Repository = ResticRepository(opened)
        self.mover: Mover = ResticMover(opened)
        if native:
            self.mover = NativeMover(self.mover, opened, directory / "images")
        # restic retries writes to a storage service for a minute and more.
        self.read_only_is_noticed = not rest

    def _location(self, place: Path) -> str:
        if not self._rest:
            return str(place)
        # restic omits the user if the server does not ask for one.
        location = self._stack.enter_context(RestServer(place)).location
        return location.replace("//", "//user:hidden@")

    def _opened(self, name: str, place: Path, password: str) -> Repository:
        directory = self._directory / name
        directory.mkdir()
        settings = restic.program(directory, restic=self._program, location=self._location(place))
        (directory / "password").write_text(f"{password}\n")
        return ResticRepository(settings)

    def elsewhere(self) -> Repository:
        return self._opened("elsewhere", self._directory / "elsewhere" / "repository", PASSWORD)

    def with_password(self, password: str) -> Repository:
        return self._opened("other password", self._place, password)

    def read_only(self) -> None:
        place = str(self._place)
        run("mount", "--bind", "-o", "ro", place, place)
        self._stack.callback(run, "umount", place)

    def damage(self) -> None:
        for pack in self._files("data"):
            content = bytearray(pack.read_bytes())
            # The end of a pack lists its content.
            for position in range(0, len(content) // 2, 16):
                content[position] ^= 0xFF
            pack.chmod(0o600)
            pack.write_bytes(content)

    def size(self) -> int:
        return sum(each.stat().st_size for each in self._files("data"))

    def _files(self, kind: str) -> list[Path]:
        return [each for each in (self._place / kind).rglob("*") if each.is_file()]

    @contextmanager
    def locked(self) -> Iterator[int]:
        environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD}
        command = [self._program, "--no-cache", "--repo", str(self._place), "backup", "--stdin"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        ) as process:
            deadline = time.monotonic() + _PATIENCE
            while not self._files("locks"):
                assert process.poll() is None, "restic has ended"
                assert time.monotonic() < deadline, "restic has taken no lock"
                time.sleep(0.02)
            try:
                yield process.pid
            finally:
                process.kill()

    def close(self) -> None:
        self._stack.close()
