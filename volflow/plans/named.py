"""Finds a backup by the name of its volume, where several volumes have or had that name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from volflow import times
from volflow.errors import UsageError
from volflow.movers.base import StoredBackup
from volflow.repositories.backups import AmbiguousNameError, complete_instead, find, until


@dataclass(frozen=True)
class Found:
    """A backup.

    :ivar note: which volume it is of, if others have or had the same name; which partial backups
        are passed over for it
    """

    backup: StoredBackup
    note: str | None = None


def find_named(
    stored: Sequence[StoredBackup],
    what: str,
    *,
    at: datetime | None = None,
    exists: Callable[[str], bool | None],
    complete: bool = False,
) -> Found:
    """The backup that :func:`~volflow.repositories.backups.find` finds.

    Of several volumes with a name, the one that exists is meant: the others were deleted, or are
    the originals of restored ones. If none exists, it is the one with the newest backup.

    :param exists: whether the volume with this id exists; None if that is not known. Only asked if
        several volumes have the name
    :param complete: prefer the last complete backup of a volume. A backup that is named by its id
        is taken as it is
    :raises BackupNotFoundError: no backup matches
    :raises UsageError: several backups match, or several volumes of that name exist
    """
    found = _found(stored, what, at, exists)
    # No backup by this id is meant if a volume has this id or name.
    by_volume = any(one.finished and what in _names(one) for one in until(stored, at))
    if not complete or not by_volume:
        return found
    backup, passed_over = complete_instead(until(stored, at), found.backup)
    notes = [note for note in (found.note, passed_over) if note]
    return Found(backup, " ".join(notes) or None)


def _found(
    stored: Sequence[StoredBackup],
    what: str,
    at: datetime | None,
    exists: Callable[[str], bool | None],
) -> Found:
    try:
        return Found(find(stored, what, at=at))
    except AmbiguousNameError as error:
        candidates = error.candidates
    present = {_volume(one): exists(_volume(one)) for one in candidates}
    existing = [one for one in candidates if present[_volume(one)]]
    if len(existing) > 1:
        lines = "".join(_line(one, present[_volume(one)]) for one in reversed(candidates))
        raise UsageError(
            f"{len(candidates)} volumes named '{what}' have backups, and {len(existing)} of them "
            f"exist. Give the id of a volume or of a backup:{lines}"
        )
    chosen = existing[0] if existing else candidates[-1]
    why = "which exists" if existing else "which has the newest backup"
    if not existing and None in present.values():
        why += "; whether one of them exists is not known"
    note = (
        f"{len(candidates)} volumes named '{what}' have backups: this is volume {_volume(chosen)}, "
        f"{why}. Its last backup is {chosen.id[:8]} of {times.local(chosen.taken_at)}."
    )
    return Found(chosen, note)


def _line(backup: StoredBackup, exists: bool | None) -> str:
    word = {True: "exists", False: "does not exist", None: "may exist"}[exists]
    return (
        f"\n  {_volume(backup)}, project {backup.tags.get('project') or '-'}, {word}, last backup "
        f"{backup.id[:8]} of {times.local(backup.taken_at)}"
    )


def _names(backup: StoredBackup) -> tuple[str | None, str | None]:
    return backup.tags.get("volume"), backup.tags.get("name")


def _volume(backup: StoredBackup) -> str:
    return str(backup.tags.get("volume"))
