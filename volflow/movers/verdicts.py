"""Which stored copies are backups.

A mover first stores a copy: the data, with the tag ``state=unchecked``. Only then it is known which
files could not be read. The last act is the verdict: a second, tiny object that contains only the
manifest, with the list of these files, and names the copy that it is about. A copy without a
verdict is unfinished, on every host and whatever became of the run that stored it.

Release 0.1.0 stored copies without the tag and without a verdict; they are what they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from volflow.movers.base import UNCHECKED, StoredBackup

# The tags of a verdict. It has no tag ``volume``, so release 0.1.0 does not take it for a backup.
_COPY, _VOLUME = "verdict", "of"
# The tag of a note that a volume no longer existed when the run came to it.
_GONE = "gone"
# The first id of a copy that has another one now, as a tag.
ORIGINAL = "original"
# The tags that a verdict repeats, for people who look with restic. Not the name, by which they
# restore the latest snapshot.
_REPEATED = ("run", "project", "taken", "number")
# The tags that a verdict adds to the copy.
_ADDED = ("unread", "files", "files_before")
# The shortest beginning of an id that restic prints.
_SHORTEST = 8
# Another host may be between a copy and its verdict, or between listing the two.
_SETTLED = timedelta(days=1)


def tags_of_copy(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a copy on which there is no verdict yet."""
    return {**tags, "state": UNCHECKED}


def tags_of_verdict(copy_id: str, tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of the verdict on a copy.

    :param tags: those of the copy; the number of its unreadable files and directories if there are
        any; the number of files that it holds
    """
    repeated = {key: tags[key] for key in (*_REPEATED, *_ADDED) if key in tags}
    return {_COPY: copy_id, _VOLUME: tags.get("volume", ""), **repeated}


def tags_of_note(run_id: str, volume_id: str, project_id: str) -> dict[str, str]:
    """The tags of a note that a volume was deleted before its turn."""
    return {_GONE: "deleted", _VOLUME: volume_id, "run": run_id, "project": project_id}


@dataclass(frozen=True)
class Listing:
    """All that a repository holds of volflow: copies, verdicts on them, and notes.

    :ivar stored: as they are stored, in any order
    """

    stored: tuple[StoredBackup, ...]

    @property
    def backups(self) -> list[StoredBackup]:
        """The backups, the oldest data first.

        All copies of a volume by one run are one backup: the last one on which there is a
        verdict, or the last one.
        """
        chosen: dict[tuple[str, ...], StoredBackup] = {}
        for one in sorted(self._copies(), key=lambda each: (each.finished, each.created_at)):
            chosen[_whose(one)] = one
        return sorted(chosen.values(), key=lambda each: each.order)

    def _copies(self) -> list[StoredBackup]:
        """The copies, each with what its verdict says."""
        verdicts = {}
        for one in self.stored:
            if len(one.tags.get(_COPY, "")) >= _SHORTEST:
                verdicts[_subject(one.tags[_COPY], one.tags.get(_VOLUME), one)] = one
        gone: dict[tuple[str, ...], set[str]] = {}
        for one in self.stored:
            if _GONE in one.tags and not _is_copy(one):
                gone.setdefault(_project_of_run(one), set()).add(one.tags.get(_VOLUME, ""))
        found = []
        for one in self.stored:
            if not _is_copy(one):
                continue
            tags = {key: value for key, value in one.tags.items() if key not in ("checked", _GONE)}
            volume = one.tags.get("volume", "")
            verdict = verdicts.get(_subject(_name(one), volume, one))
            if not one.finished and verdict is not None:
                del tags["state"]
                tags["checked"] = verdict.id
                tags |= {key: verdict.tags[key] for key in _ADDED if key in verdict.tags}
            if missing := gone.get(_project_of_run(one)):
                tags[_GONE] = ",".join(sorted(missing))
            found.append(replace(one, tags=tags))
        return found

    def family(self, backup_id: str) -> list[str]:
        """Ids of all that belongs to a backup: all copies by its run, and the verdicts on them."""
        whose = {_whose(one) for one in self.stored if _is_copy(one) and one.id == backup_id}
        copies = [one for one in self.stored if _is_copy(one) and _whose(one) in whose]
        return [one.id for one in copies] + [
            one.id
            for one in self.stored
            if len(about := one.tags.get(_COPY, "")) >= _SHORTEST
            and any(_name(copy).startswith(about) for copy in copies)
        ]

    def useless(self, abandoned: Callable[[StoredBackup], bool]) -> list[str]:
        """Ids of what nothing needs any more.

        These are copies that another one of the same run replaces, unfinished copies that are
        abandoned, verdicts on copies that are gone, and notes on runs whose backups are gone.

        :param abandoned: says whether the run of an unfinished copy will not continue
        """
        last = {one.id: one for one in self.backups}
        going = [
            one.id
            for one in self.stored
            if _is_copy(one)
            and (one.id not in last or (not last[one.id].finished and abandoned(last[one.id])))
        ]
        copies = [one for one in self.stored if _is_copy(one) and one.id not in going]
        known = {_name(one)[:_SHORTEST] for one in copies}
        runs = {_project_of_run(one) for one in copies}
        settled = datetime.now(UTC) - _SETTLED
        for one in self.stored:
            if _is_copy(one) or one.created_at > settled:
                continue
            about = one.tags.get(_COPY)
            needed = _project_of_run(one) in runs if about is None else about[:_SHORTEST] in known
            if not needed:
                going.append(one.id)
        return going


def settled(backup: StoredBackup) -> bool:
    """Whether an unfinished copy is so old that its run must have ended."""
    return backup.created_at < datetime.now(UTC) - _SETTLED


def _is_copy(one: StoredBackup) -> bool:
    return _COPY not in one.tags and (_GONE not in one.tags or "volume" in one.tags)


def _whose(one: StoredBackup) -> tuple[str, ...]:
    """What identifies a backup: all copies of a volume by one run are one backup."""
    run, volume = one.tags.get("run"), one.tags.get("volume")
    return (run, volume) if run and volume else (one.id,)


def _name(one: StoredBackup) -> str:
    """The id by which a verdict names a copy: the one that it had first.

    ``restic copy`` and ``restic tag`` give a snapshot another id, and keep the first one.
    """
    return one.tags.get(ORIGINAL) or one.id


def _project_of_run(one: StoredBackup) -> tuple[str, ...]:
    return one.tags.get("run", ""), one.tags.get("project", "")


def _subject(copy_id: str, volume_id: str | None, one: StoredBackup) -> tuple[str, ...]:
    """What a verdict is about. Old versions of restic print the beginning of an id only."""
    return copy_id[:_SHORTEST], volume_id or "", one.tags.get("run", "")
