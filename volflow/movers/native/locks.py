"""Locks, as restic takes them.

From restic's design document, "Locks": a process that stores or reads holds a lock that is not
exclusive; one that removes data holds an exclusive one, and then there is no other. A lock that was
not refreshed for 30 minutes counts for nothing. restic, unlike its document, heeds also the lock of
a process that has ended, until 'restic unlock' removes it; so does this.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from volflow.errors import RepositoryError
from volflow.movers.native import documents
from volflow.movers.native.crypto import Key
from volflow.movers.native.directory import Directory, Kind
from volflow.times import moment_of, utc

STALE = timedelta(minutes=30)
# Seconds between two refreshes, and until the second look for others, as in restic.
_REFRESH, _SECOND_LOOK = 300.0, 0.2


class Lock:
    """A lock of this process that is not exclusive; it refreshes itself.

    The process must ignore SIGHUP: 'restic unlock' sends it to see whether the process is there.
    """

    def __init__(self, directory: Directory, key: Key, refresh: float = _REFRESH) -> None:
        self._directory = directory
        self._key = key
        self._interval = refresh
        self._name = ""
        self._time = datetime.now(UTC)
        self._guard = threading.Lock()
        self._over = threading.Event()

    @contextlib.contextmanager
    def held(self) -> Iterator[Lock]:
        """Hold it while the block runs.

        :raises RepositoryError: another process has an exclusive lock
        :raises OSError: it cannot be written
        """
        self._check_others()
        thread = threading.Thread(target=self._refresh, daemon=True)
        try:
            with _uninterrupted():
                self._write()
            time.sleep(_SECOND_LOOK)
            self._check_others()
            thread.start()
            yield self
        finally:
            self._over.set()
            with self._guard, _uninterrupted():
                if self._name:
                    self._directory.remove(Kind.LOCK, self._name)

    def check(self) -> None:
        """Make sure that it still keeps others away.

        :raises RepositoryError: somebody has removed it, or it could not be refreshed for too long
        """
        with self._guard:
            there = self._name in self._directory.names(Kind.LOCK)
        if not there or datetime.now(UTC) - self._time > STALE - timedelta(minutes=2):
            raise RepositoryError(
                f"The lock of this backup in the repository {self._directory.path} was removed, or "
                "could not be refreshed: data may have been pruned meanwhile. Store it again; do "
                "not use 'restic unlock --remove-all' while backups run."
            )

    def _write(self) -> None:
        self._time = datetime.now(UTC)
        lock = {
            "time": utc(self._time),
            "exclusive": False,
            "hostname": socket.gethostname(),
            "username": _user(),
            "pid": os.getpid(),
            "uid": os.getuid(),
            "gid": os.getgid(),
        }
        # restic leaves out what is 0.
        lock = {name: value for name, value in lock.items() if value != 0 or name == "exclusive"}
        self._name = self._directory.write(Kind.LOCK, documents.seal(self._key, lock))

    def _refresh(self) -> None:
        while not self._over.wait(self._interval):
            with self._guard:
                before = self._name
                if self._over.is_set() or before not in self._directory.names(Kind.LOCK):
                    return  # Whoever has removed it believes that there is none.
                # Without success the old one stays, and check() notices its age.
                with contextlib.suppress(OSError):
                    self._write()
                    self._directory.remove(Kind.LOCK, before)

    def _check_others(self) -> None:
        """Make sure that nobody has the repository for himself.

        :raises RepositoryError: somebody has
        """
        for name in self._directory.names(Kind.LOCK) - {self._name}:
            try:
                sealed = self._directory.read(Kind.LOCK, name)
            except FileNotFoundError:
                continue  # Removed meanwhile.
            lock = documents.unseal_object(self._key, sealed, f"Lock {name[:8]}")
            if lock.get("exclusive") and not _is_stale(lock):
                host, pid = str(lock.get("hostname"))[:255], lock.get("pid")
                raise RepositoryError(
                    f"The repository {self._directory.path} is locked by process {pid} on host "
                    f"{host}, which needs it for itself, to remove, prune or check backups: try "
                    "again when it has ended. If that process is dead, remove its lock on that "
                    f"host: restic -r {self._directory.path} unlock"
                )


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals that end this process wait until the block has run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda signaled, _: came.append(signaled))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signaled in came:
            signal.raise_signal(signaled)


def _user() -> str:
    with contextlib.suppress(KeyError, OSError):
        return getpass.getuser()
    return ""


def _is_stale(lock: dict[str, Any]) -> bool:
    """Whether its process has ended, or hangs for so long that it must give up."""
    # Python reads six digits of a second, restic writes nine.
    moment = moment_of(re.sub(r"(\.\d{6})\d+", r"\1", str(lock.get("time"))))
    if moment is None:
        return False
    return datetime.now(UTC) - moment > STALE
