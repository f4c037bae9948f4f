"""restic as the repository.

A backup of a volume is two snapshots of restic: one with the data, and the verdict on it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from volflow.errors import RepositoryError
from volflow.host.identity import Process
from volflow.movers.base import (
    MANIFEST,
    Change,
    Node,
    ServedBackup,
    StoredBackup,
)
from volflow.movers.restic.browse import Browser
from volflow.movers.restic.locks import Locks
from volflow.movers.restic.program import ResticProgram, time_of
from volflow.movers.restic.readback import missing
from volflow.movers.verdicts import ORIGINAL, Listing, tags_of_note
from volflow.times import moment_of

LOG = logging.getLogger(__name__)

# A snapshot that restic (0.14 to 0.19) cannot read, in the lines of its standard error.
_UNREAD = re.compile("(could not|failed to) load snapshot")
# How often to list the snapshots if one of them cannot be read.
_READ_AT_MOST = 3
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

    def holds(self, backup: StoredBackup) -> bool:
        """Whether the storage has the backup and its verdict, whatever restic's cache has."""
        return not missing(self._program, *filter(None, (backup.id, backup.verdict_id)))

    def _listing(self, *, whole: bool = False) -> Listing:
        """All snapshots of volflow.

        restic leaves out a snapshot that it cannot read, and succeeds.

        :param whole: fail if a snapshot cannot be read; otherwise a warning names it
        """
        for _ in range(_READ_AT_MOST):
            # A list needs no lock, and one that is ended while the server is away would leave its
            # own.
            listed, said = self._program.say("snapshots", "--json", "--tag", _TAG, "--no-lock")
            unread = [line for line in said.splitlines() if _UNREAD.search(line)]
            # Another process may have removed it meanwhile, or the storage had trouble.
            if not unread:
                break
        else:
            self._report(unread, whole=whole)
        found = json.loads(listed) or []
        try:
            return Listing(tuple(map(_stored, found)))
        except ValueError as error:
            # restic accepts times that Python does not.
            raise RepositoryError(
                f"The repository {self.location} holds a snapshot with an impossible time "
                f"({error}): 'restic forget' removes it."
            ) from error

    def _report(self, unread: Sequence[str], *, whole: bool) -> None:
        message = (
            f"The repository {self.location} has snapshots that restic cannot read, so what they "
            f"hold is not known: 'volflow repository check' says more. restic said: {unread[-1]}"
        )
        if whole:
            raise RepositoryError(message)
        LOG.warning("%s", message)

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
        # What cannot be read may be what a verdict is about.
        if useless := self._listing(whole=True).useless(abandoned):
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
        """Remove the locks of processes that have ended: see :meth:`Locks.remove`."""
        Locks(self._program).remove(owners, others)

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

    def size(self, backup_id: str) -> int:
        """The bytes of all files of a backup, with their holes."""
        return self._browser.size(backup_id)

    def changes(self, old_id: str, new_id: str, *, metadata: bool = False) -> Iterator[Change]:
        """The differences between two backups, with paths in the backup."""
        return self._browser.changes(old_id, new_id, metadata=metadata)

    def read_all(self, backup_id: str, path: Path) -> int:
        """Read every byte below a path of a backup; restic compares it with its checksums."""
        return self._browser.read_all(backup_id, path)

    def mounted(self, backup_id: str, mount_point: Path) -> AbstractContextManager[ServedBackup]:
        """Mount a backup by FUSE while the ``with`` block runs."""
        return self._browser.mounted(backup_id, mount_point)


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
