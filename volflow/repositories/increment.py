"""What a backup reads: everything, or only what has changed since its parent.

restic takes a file for unchanged if its path, inode, size, mtime and ctime are those of the parent.
A change within one tick of the clock around the parent's snapshot leaves them as they were. So
files whose times are not clearly older than that snapshot are unsettled: they are read again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from volflow.disk.survey import Survey, Window
from volflow.errors import RepositoryError
from volflow.movers.base import Repository, StoredBackup
from volflow.repositories import full_reads
from volflow.repositories.manifest import Manifest
from volflow.times import moment_of

# Seconds by which clocks differ, and one tick of the coarsest clock of a file system.
_MARGIN = 60.0 + 1.0


@dataclass(frozen=True)
class Increment:
    """What a backup reads.

    :ivar taken_at: the time of the data
    :ivar parent: files that have not changed since this backup are not read; None to read all
    :ivar full_at: the time of the data that was last read completely
    :ivar previous: the last backup of the same file system, also if everything is read
    :ivar window: the times of the files that are read again nevertheless
    :ivar surveys: the tree of each region, before anything was changed in it
    """

    taken_at: datetime
    parent: StoredBackup | None
    full_at: datetime
    previous: StoredBackup | None = None
    window: Window | None = None
    surveys: tuple[Survey, ...] = ()

    @classmethod
    def plan(
        cls,
        volume_id: str,
        snapshot: Mapping[str, Any],
        file_system: str,
        *,
        parent: StoredBackup | None,
        repository: Repository,
        full_every: timedelta,
    ) -> Increment:
        """Decide what the backup of a snapshot reads.

        :param snapshot: as Cinder shows it
        :param file_system: the UUID of the file system on it
        :param parent: the last backup, if any
        :param repository: has the parent
        :param full_every: how often everything is read; zero for never
        """
        taken_at = moment_of(snapshot["created_at"]) or datetime.now(UTC)
        if parent is None or parent.tags.get("file_system", file_system) != file_system:
            return cls(taken_at, None, taken_at)
        full = cls(taken_at, None, taken_at, parent)
        last = full_reads.last(parent)
        if full_reads.is_due(volume_id, taken_at, last, full_every):
            return full
        taken = _data_of(repository, parent)
        if taken is None:
            return full
        return cls(taken_at, parent, last, parent, _window(parent, taken))

    def full(self) -> Increment:
        """The same, but everything is read."""
        return replace(self, parent=None, full_at=self.taken_at, window=None)

    @property
    def clocks_until(self) -> float:
        """No right clock shows a later time on the volume; in seconds since the epoch."""
        return self.taken_at.timestamp() + _MARGIN

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the backup that the next one needs to know this."""
        recent = max((survey.recent for survey in self.surveys), default=0.0)
        newest = max((survey.newest for survey in self.surveys), default=0.0)
        tags = {
            "taken": _text(self.taken_at),
            "full": _text(self.full_at),
            "newest": repr(newest),
            "recent": repr(recent),
        }
        # The last backup had the newest files too: this one has read them after their last change.
        if self.previous and recent == _number(self.previous, "recent"):
            tags["settled"] = "yes"
        return tags


def _window(parent: StoredBackup, taken: datetime) -> Window:
    """The times in which a file may have changed since the parent, without a trace.

    A guest's clock may be behind: then the newest time on its volume shows how far. That time is
    also old if nothing has changed for long, which the next backup finds out.
    """
    since = taken.timestamp()
    recent = _number(parent, "recent")
    if recent is not None and "settled" not in parent.tags:
        since = min(since, recent)
    newest = _number(parent, "newest")
    # What is newer than all that the parent saw has certainly changed.
    return Window(since - _MARGIN, math.inf if newest is None else newest)


def _data_of(repository: Repository, parent: StoredBackup) -> datetime | None:
    """The time of the data of a parent; None if that is not known."""
    if moment_of(parent.tags.get("taken", "")):
        return parent.taken_at
    # Release 0.1.0 recorded it in the manifest only.
    try:
        manifest = Manifest.from_json(repository.manifest(parent.verdict_id))
    except RepositoryError:
        return None
    return moment_of(manifest.snapshot["created_at"])


def _number(backup: StoredBackup, tag: str) -> float | None:
    """The number in a tag. Whoever has the password of a repository can write anything into it."""
    try:
        found = float(backup.tags[tag])
    except (KeyError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
