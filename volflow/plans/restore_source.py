"""Which backups a restore brings back, and which it leaves out and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from volflow import times
from volflow.errors import BackupNotFoundError
from volflow.movers.base import StoredBackup
from volflow.plans.filters import Unmatched
from volflow.plans.named import find_named
from volflow.plans.selection import Selection
from volflow.repositories.backups import (
    Backups,
    NoBackupThenError,
    complete_instead,
    doubts,
    in_order,
    latest,
    until,
)
from volflow.results.outcome import LeftOut

# The number of volumes of a complete run. Whoever has the repository's key can write anything.
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Chosen:
    """The backups that a selection covers.

    :ivar backups: the backups to restore
    :ivar left_out: the backups that were looked at and are not restored, and why
    :ivar notes: what a person should know about the choice, one sentence each
    """

    backups: list[StoredBackup]
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class CompleteRun(NamedTuple):
    """A run that backed up all volumes of a project.

    :ivar began: the time of its first backup
    """

    run_id: str
    began: datetime


def choose(
    backups: Backups,
    stored: Sequence[StoredBackup],
    selection: Selection,
    *,
    projects: Collection[str],
    at: datetime | None,
    partial: bool = False,
    exists: Callable[[str], bool | None] = lambda volume_id: None,
) -> Chosen:
    """Choose the backups to restore: the last one of each volume that existed then.

    If that one is partial, it is the last complete one before it, if there is any.

    :param backups: reads manifests, for filters that need them
    :param stored: the backups, the oldest first
    :param projects: ids of the projects whose volumes ``--all`` covers
    :param at: restore the volumes as of this time
    :param partial: take the last backup even if it is partial
    :param exists: whether the volume with this id exists; None if that is not known
    :raises BackupNotFoundError: no backup matches the selection
    :raises UsageError: no volume matches one of the filters
    """
    selection.check()
    if selection.volumes:
        found = [
            find_named(stored, name, at=at, exists=exists, complete=not partial)
            for name in selection.volumes
        ]
        return Chosen([one.backup for one in found], notes=[one.note for one in found if one.note])
    before = until(stored, at)
    if at and stored and not before:
        raise NoBackupThenError("", at, stored[0].taken_at)
    candidates = latest(before)
    left_out: list[LeftOut] = []
    complete = {"": complete_runs(before)}
    if selection.everything:
        candidates = [one for one in candidates if one.tags.get("project") in projects]
    elif selection.groups:
        candidates, left_out = _of_groups(before, candidates, selection.groups)
        # A group that no longer exists is restored as of its last backup.
        last = {one.tags["group"]: one.taken_at for one in in_order(candidates)}
        complete = {group: complete_runs(before, begun_by=time) for group, time in last.items()}
    chosen = []
    unmatched = selection.unmatched()
    for backup in candidates:
        unmatched.look_at_name(backup.tags["volume"], backup.tags.get("name", ""))
        runs = complete[backup.tags["group"] if selection.groups else ""]
        reason = _why_deleted(backup, runs) or selection.why_backup_unwanted(backup)
        if reason:
            left_out.append(_left_out(backup, reason, wanted=False))
        else:
            chosen.append(backup)
    for backup in _only_unfinished(before, selection, projects):
        unmatched.look_at_name(backup.tags["volume"], backup.tags.get("name", ""))
        if not selection.why_backup_unwanted(backup):
            reason = (
                f"has no finished backup. Nobody knows whether all files are in {backup.id[:8]}; "
                "to restore it nevertheless, give its id"
            )
            left_out.append(_left_out(backup, reason, wanted=True))
    unmatched.refuse_names()
    passed_over: list[str] = []
    if not partial:
        # A member of a group comes back as it was in this group.
        same = ("project", "group") if selection.groups else ("project",)
        better = [complete_instead(before, backup, same=same) for backup in chosen]
        chosen = [backup for backup, _ in better]
        passed_over = [note for _, note in better if note]
    if selection.metadata or selection.volume_type:
        chosen, filtered = _by_manifest(backups, chosen, selection, unmatched)
        left_out += filtered
    if not chosen:
        lines = "".join(f"\n{one.name or one.volume_id}: {one.reason}" for one in left_out)
        raise BackupNotFoundError(f"No backup matches the selection.{lines}")
    return Chosen(chosen, left_out, [*unmatched.notes(), *passed_over])


def _only_unfinished(
    stored: Sequence[StoredBackup], selection: Selection, projects: Collection[str]
) -> list[StoredBackup]:
    """Of each volume that has no finished backup: the last unfinished one."""
    finished = {_volume(backup) for backup in stored if backup.finished}
    last = {_volume(backup): backup for backup in stored if not backup.finished}
    return [
        backup
        for volume, backup in last.items()
        if volume not in finished
        if not selection.everything or backup.tags.get("project") in projects
        if not selection.groups or backup.tags.get("group") in selection.groups
    ]


def notes_on_backups(stored: Sequence[StoredBackup], chosen: Sequence[StoredBackup]) -> list[str]:
    """What a person should know: which of these are unfinished, and which are of the future.

    :param stored: all backups. The result names those of the future of each restored volume, also
        if they are not chosen
    """
    volumes = {backup.tags.get("volume") for backup in chosen}
    known = {backup.id for backup in chosen}
    odd = [one for one in stored if one.of_the_future() and one.tags.get("volume") in volumes]
    return doubts([*chosen, *(one for one in odd if one.id not in known)])


def complete_runs(
    stored: Sequence[StoredBackup], *, begun_by: datetime | None = None
) -> dict[str, CompleteRun]:
    """The last run that backed up all volumes of a project, by the project's id.

    Each backup of such a run has the number of its volumes in the tag ``whole``. Volumes that were
    deleted before their turn are in the tag ``gone``. A run of which
    backups are missing, because they failed, were deleted or are unfinished, does not show which
    volumes existed; nor does one whose clock was wrong.

    :param stored: the backups, the oldest first
    :param begun_by: ignore runs whose first backup is later
    """
    runs: dict[tuple[str, str], list[StoredBackup]] = {}
    for backup in stored:
        if backup.of_the_future() or not backup.finished:
            continue
        if _COUNT.fullmatch(backup.tags.get("whole", "")):
            key = (backup.tags.get("project", ""), backup.tags.get("run", ""))
            runs.setdefault(key, []).append(backup)
    found: dict[str, CompleteRun] = {}
    for (project_id, run_id), backups in sorted(
        runs.items(), key=lambda item: item[1][-1].taken_at
    ):
        volumes = {backup.tags.get("volume") for backup in backups}
        # Deleted before their turn: the run shows that they no longer existed.
        volumes |= {
            one for backup in backups for one in backup.tags.get("gone", "").split(",") if one
        }
        if begun_by and backups[0].taken_at > begun_by:
            continue
        if len(volumes) >= int(backups[0].tags["whole"]):
            found[project_id] = CompleteRun(run_id, backups[0].taken_at)
    return found


def _why_deleted(backup: StoredBackup, complete: Mapping[str, CompleteRun]) -> str | None:
    """Why the volume of its last backup no longer existed; None if it may have existed."""
    run = complete.get(backup.tags.get("project", ""))
    if run is None or backup.taken_at >= run.began:
        return None
    return (
        f"no longer existed when run {run.run_id[:8]} backed up all volumes of its project at "
        f"{times.local(run.began)}; its last backup is {backup.id[:8]} of "
        f"{times.local(backup.taken_at)}"
    )


def _of_groups(
    before: Sequence[StoredBackup], last: Sequence[StoredBackup], groups: Sequence[str]
) -> tuple[list[StoredBackup], list[LeftOut]]:
    """The last backups of the volumes in these groups, and the volumes that have left a group.

    :raises BackupNotFoundError: no volume of a group has a backup
    """
    found = [backup for backup in last if backup.tags.get("group") in groups]
    missing = set(groups) - {str(backup.tags.get("group")) for backup in found}
    if missing:
        raise BackupNotFoundError(f"No volume of group {', '.join(sorted(missing))} has a backup.")
    members = {_volume(one): one for one in before if one.tags.get("group") in groups}
    left_out = []
    for backup in last:
        member = members.get(_volume(backup))
        if member and member.tags["group"] != backup.tags.get("group"):
            reason = (
                f"has left group {member.tags['group']} since its backup {member.id[:8]} of "
                f"{times.local(member.taken_at)}"
            )
            left_out.append(_left_out(backup, reason, wanted=False))
    return found, left_out


def _by_manifest(
    known: Backups,
    backups: Sequence[StoredBackup],
    selection: Selection,
    unmatched: Unmatched,
) -> tuple[list[StoredBackup], list[LeftOut]]:
    """Apply the filters that need the manifest.

    :raises UsageError: no volume matches one of them
    """
    manifests, troubles = known.manifests(backups)
    for manifest in manifests.values():
        volume = manifest.volume
        unmatched.look_at_properties(volume["volume_type"], volume["metadata"])
    if not troubles:
        unmatched.refuse_properties()
    found, left_out = [], []
    for backup in backups:
        if backup.id in troubles:
            left_out.append(_left_out(backup, str(troubles[backup.id]), wanted=True))
        elif reason := selection.why_unwanted(manifests[backup.id].volume):
            left_out.append(_left_out(backup, reason, wanted=False))
        else:
            found.append(backup)
    return found, left_out


def _left_out(backup: StoredBackup, reason: str, *, wanted: bool) -> LeftOut:
    return LeftOut(backup.tags["volume"], backup.tags.get("name", ""), reason, wanted)


def _volume(backup: StoredBackup) -> tuple[str, str | None]:
    return backup.tags["volume"], backup.tags.get("project")
