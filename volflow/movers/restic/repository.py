"""restic as the repository.

A backup of a volume is two snapshots of restic: one with the data, and the verdict on it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from volflow.errors import RepositoryError
from volflow.host.identity import Process, host_name, started
from volflow.movers.base import (
    MANIFEST,
    Change,
    Node,
    ServedBackup,
    StoredBackup,
)
from volflow.movers.restic.browse import Browser
from volflow.movers.restic.program import ResticProgram, time_of
from volflow.movers.verdicts import ORIGINAL, Listing, tags_of_note
from volflow.times import moment_of

# Seconds for the removal of a lock; restic tries for minutes to reach a repository.
_UNLOCK_LIMIT = 20.0
# Seconds for a restic to end after its volflow has ended, and between two looks at it. It gets
# SIGINT at once, and SIGKILL after five seconds (volflow/host/program.py).
_ENDS_WITHIN, _LOOK = 15.0, 0.1
# restic takes a lock for stale that was not refreshed for so long, whosever it is.
_STALE = timedelta(minutes=30)
# Marks the snapshots of volflow among others in the repository.
_TAG = "volflow"
# When a snapshot was stored. Its time in restic is that of the data.
_STORED = "stored"


class ResticRepository:
    """A repository of restic.

    :param program: restic, set up for this repository
    """

    def __init__(self, program: ResticProgram) -> None:
        self._program = program
        self._browser = Browser(program)

    @property
    def location(self) -> str:
        """The repository's name, without the user and password that a URL can contain."""
        return self._program.location

    @property
    def local_path(self) -> Path | None:
        """The repository's directory, if it is on this host."""
        return self._program.settings.local_path

    @property
    def version(self) -> str:
        """restic's version."""
        return ".".join(map(str, self._program.version))

    def check(self) -> None:
        """Make sure that restic is installed and new enough, and that the options make sense."""
        self._program.check()

    def init(self) -> None:
        """Create the repository."""
        self._program.run("init")

    def exists(self) -> bool:
        """Whether the repository exists. The password is not needed."""
        return self._program.exists()

    def backups(self) -> Sequence[StoredBackup]:
        """All backups in the repository, the oldest data first."""
        return self._listing().backups

    def _listing(self) -> Listing:
        """All snapshots of volflow."""
        # A list needs no lock, and one that is ended while the server is away would leave its own.
        listed = self._program.run("snapshots", "--json", "--tag", _TAG, "--no-lock")
        found = json.loads(listed) or []
        try:
            return Listing(tuple(map(_stored, found)))
        except ValueError as error:
            # restic accepts times that Python does not.
            raise RepositoryError(
                f"The repository {self.location} holds a snapshot with an impossible time "
                f"({error}): 'restic forget' removes it."
            ) from error

    def check_writable(self) -> None:
        """Fail at once if nothing can be stored: the repository is a directory that is read-only.

        :raises RepositoryError: it is
        """
        self._program.check_writable()

    def forget(self, backup_id: str) -> None:
        """Remove a backup and its verdict from the list; :meth:`prune` frees the space."""
        self._program.run("forget", *dict.fromkeys([*self._listing().family(backup_id), backup_id]))

    def prune(self, abandoned: Callable[[StoredBackup], bool] = lambda _: False) -> str:
        """Free the space that no backup needs; returns restic's report."""
        if useless := self._listing().useless(abandoned):
            self._program.run("forget", *useless)
        return self._program.run("prune")

    def note_gone(self, volume_id: str, *, run_id: str, project_id: str) -> None:
        """Record that a volume no longer existed when a run came to it: an empty snapshot."""
        tags = tags_of_note(run_id, volume_id, project_id) | {_STORED: now()}
        self._program.run(
            # A snapshot has to contain something; of a device restic stores no content.
            *("backup", "--force", "/dev/null", "--host", f"gone-{volume_id}"),
            *(f"--tag={tag}" for tag in pack(tags)),
        )

    def unlock(self, owners: Sequence[Process] = (), others: Sequence[Process] = ()) -> None:
        """Remove the locks of processes that have ended. Locks of running ones stay.

        restic removes a lock whose host name is that of this host if it does not see the process.
        Containers and cloned hosts share a host name, and there the process can be alive. So restic
        may remove locks only if it is proved of each that its process has ended.

        :param owners: processes that may have held a lock, and whose volflow has ended. One that
            still runs is about to end: it is waited for.
        :param others: processes that may hold other locks; they may run
        :raises RepositoryError: a lock stays: its process runs, or it is not proved that it has
            ended, or it is a zombie, which restic takes for a running process
        """
        for lock_id, lock in self._own_locks():
            pid = int(lock["pid"])
            known = [one for one in (*owners, *others) if one.pid == pid]
            if self._is_seen_for_long(pid, owners) or any(one.has_ended() for one in known):
                continue
            stale_at = time_of(lock["time"]) + _STALE
            if datetime.now(UTC) < stale_at:
                raise RepositoryError(
                    f"Lock {lock_id[:8]} of the repository {self.location} may belong to a "
                    f"running process: {pid} on a host named {lock['hostname']}, which can "
                    "be another container or a cloned host. Make sure that nothing works in the "
                    f"repository, then use 'restic unlock'; or wait until {stale_at:%H:%M} "
                    "UTC, then use 'volflow leftover clean'."
                )
        self._program.run("unlock", limit=_UNLOCK_LIMIT)
        for lock_id, lock in self._own_locks():
            pid = int(lock["pid"])
            if any(owner.pid == pid for owner in owners) or (_is_seen(pid) and not started(pid)):
                raise RepositoryError(
                    f"Lock {lock_id[:8]} of the repository {self.location} cannot be removed yet: "
                    f"process {pid} that held it has not ended, or is still a zombie. Use 'volflow "
                    "leftover clean' when it is gone."
                )

    @staticmethod
    def _is_seen_for_long(pid: int, owners: Sequence[Process]) -> bool:
        """Whether the process that holds a lock is still there after it could have ended.

        A zombie, and one of these processes, disappears by itself, but may need some seconds.
        """
        deadline = time.monotonic() + _ENDS_WITHIN
        while _is_seen(pid):
            ending = not started(pid) or any(one.pid == pid and one.runs() for one in owners)
            if not ending or time.monotonic() > deadline:
                return True
            time.sleep(_LOOK)
        return False

    def _own_locks(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The locks with the name of this host, by id."""
        for lock_id in self._locks():
            try:
                said = self._program.run(
                    *("cat", "lock", lock_id, "--no-lock"), limit=_UNLOCK_LIMIT
                )
            except RepositoryError:
                if lock_id in self._locks():
                    raise
                continue  # A running process has removed its lock meanwhile.
            lock = json.loads(said)
            if lock["hostname"] == host_name():
                yield lock_id, lock

    def _locks(self) -> list[str]:
        return self._program.run("list", "locks", "--no-lock", limit=_UNLOCK_LIMIT).split()

    def manifest(self, backup_id: str) -> str:
        """The text of a manifest."""
        return self._program.run("dump", backup_id, f"/{MANIFEST}", "--no-lock")

    def check_data(self, percent: float = 0.0) -> str:
        """Check the repository's structure, and a part of its data; returns a report."""
        subset = [f"--read-data-subset={percent:g}%"] if percent else []
        return self._program.run("check", *subset)

    def nodes(self, backup_id: str, path: Path, *, recursive: bool = False) -> Sequence[Node]:
        """The object with this path. If it is a directory, its contents follow."""
        return self._browser.nodes(backup_id, path, recursive=recursive)

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """The differences between two backups, with paths in the backup."""
        return self._browser.changes(old_id, new_id, metadata=metadata)

    def read_all(self, backup_id: str, path: Path) -> int:
        """Read every byte below a path of a backup; restic compares it with its checksums."""
        return self._browser.read_all(backup_id, path)

    def mounted(self, backup_id: str, mount_point: Path) -> AbstractContextManager[ServedBackup]:
        """Mount a backup by FUSE while the ``with`` block runs."""
        return self._browser.mounted(backup_id, mount_point)


def _is_seen(pid: int) -> bool:
    """Whether restic sees a process: also a zombie, and only in this PID namespace."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # of another user
    return True


def _stored(snapshot: Mapping[str, Any]) -> StoredBackup:
    """A snapshot as restic lists it.

    :raises ValueError: its time is impossible
    """
    tags = unpack(snapshot.get("tags") or [])
    listed_at = time_of(snapshot["time"])
    if original := snapshot.get("original"):
        tags[ORIGINAL] = original
    return StoredBackup(snapshot["id"], moment_of(tags.pop(_STORED, "")) or listed_at, tags)


def now() -> str:
    """The present as the tag ``stored`` has it, to the microsecond."""
    return datetime.now(UTC).isoformat()


def pack(tags: Mapping[str, str]) -> list[str]:
    # restic splits tags at commas.
    return [_TAG, *(f"{key}={quote(value, safe=':+')}" for key, value in tags.items())]


def unpack(tags: Sequence[str]) -> dict[str, str]:
    return {
        key: unquote(value) for key, mark, value in (tag.partition("=") for tag in tags) if mark
    }
