"""Which backups a restore brings back, and which it leaves out and why."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from volflow.errors import BackupNotFoundError
from volflow.movers.base import StoredBackup
from volflow.plans.selection import Selection
from volflow.repositories import backups as archive
from volflow.repositories.backups import Backups
from volflow.results.outcome import LeftOut

# How many volumes a run was to back up. Anybody can have written it who has the repository's key.
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class Chosen:
    """What a selection came to, of the backups that there are.

    :ivar backups: those to restore
    :ivar left_out: what was looked at and is not among them, and why
    """

    backups: list[StoredBackup]
    left_out: list[LeftOut] = field(default_factory=list)


class WholeRun(NamedTuple):
    """A run that has backed up all volumes of a project.

    :ivar began: when it stored the first of them
    """

    run_id: str
    began: datetime


def choose(
    known: Backups,
    stored: Sequence[StoredBackup],
    selection: Selection,
    *,
    projects: Collection[str],
    at: datetime | None,
) -> Chosen:
    """The backups that a restore is to bring back.

    :param stored: the backups, the oldest first
    :param projects: those whose volumes are the caller's own, for ``--all``
    :param at: as it was at this moment
    :raises BackupNotFoundError: there is none
    """
    selection.check()
    before = archive.until(stored, at)
    if selection.volumes:
        return Chosen([archive.find(before, name) for name in selection.volumes])
    last = archive.latest(before)
    left_out: list[LeftOut] = []
    whole = {"": whole_runs(before)}
    if selection.everything:
        last = [backup for backup in last if backup.tags.get("project") in projects]
    elif selection.groups:
        last, left_out = _of_groups(before, last, selection.groups)
        # A group that is gone is wanted all the same: as it was when it was last backed up.
        ended = {backup.tags["group"]: backup.created_at for backup in _by_time(last)}
        whole = {group: whole_runs(before, begun_by=moment) for group, moment in ended.items()}
    found = []
    for backup in last:
        runs = whole[backup.tags["group"] if selection.groups else ""]
        reason = _gone(backup, runs) or selection.unwanted_backup(backup)
        if reason:
            left_out.append(left(backup, reason, wanted=False))
        else:
            found.append(backup)
    if selection.metadata or selection.volume_type:
        found, more = _by_manifest(known, found, selection)
        left_out += more
    if not found:
        lines = "".join(f"\n{one.name or one.volume_id}: {one.reason}" for one in left_out)
        raise BackupNotFoundError(f"There is no backup of what was selected.{lines}")
    return Chosen(found, left_out)


def left(backup: StoredBackup, reason: str, *, wanted: bool) -> LeftOut:
    """That the volume of a backup is not restored."""
    return LeftOut(backup.tags["volume"], backup.tags.get("name", ""), reason, wanted)


def whole_runs(
    stored: Sequence[StoredBackup], *, begun_by: datetime | None = None
) -> dict[str, WholeRun]:
    """By project, the last run that has backed up all of its volumes.

    Each backup of such a run says how many volumes it was to back up. A run of which some are
    missing, because they failed or were deleted since, says nothing of what was there.

    :param stored: the backups, the oldest first
    :param begun_by: look at no run that began later
    """
    runs: dict[tuple[str, str], list[StoredBackup]] = {}
    for backup in stored:
        if _COUNT.fullmatch(backup.tags.get("whole", "")):
            key = (backup.tags.get("project", ""), backup.tags.get("run", ""))
            runs.setdefault(key, []).append(backup)
    found: dict[str, WholeRun] = {}
    for (project_id, run_id), backups in sorted(
        runs.items(), key=lambda item: item[1][-1].created_at
    ):
        volumes = {backup.tags.get("volume") for backup in backups}
        if begun_by and backups[0].created_at > begun_by:
            continue
        if len(volumes) >= int(backups[0].tags["whole"]):
            found[project_id] = WholeRun(run_id, backups[0].created_at)
    return found


def _gone(backup: StoredBackup, whole: dict[str, WholeRun]) -> str | None:
    """Why the volume of this backup, which is its last, was there no more, if so."""
    run = whole.get(backup.tags.get("project", ""))
    if run is None or backup.created_at >= run.began:
        return None
    return (
        f"was there no more when run {run.run_id[:8]} backed up all volumes of its project, at "
        f"{_told(run.began)}; its last backup is {backup.id[:8]}, made {_told(backup.created_at)}"
    )


def _of_groups(
    before: Sequence[StoredBackup], last: Sequence[StoredBackup], groups: Sequence[str]
) -> tuple[list[StoredBackup], list[LeftOut]]:
    """The backups of the volumes that are in groups, and those of volumes that have left them.

    :raises BackupNotFoundError: there is none of a group
    """
    found = [backup for backup in last if backup.tags.get("group") in groups]
    missing = set(groups) - {str(backup.tags.get("group")) for backup in found}
    if missing:
        raise BackupNotFoundError(
            f"There is no backup of a volume of group {', '.join(sorted(missing))}."
        )
    were = {_volume(backup): backup for backup in before if backup.tags.get("group") in groups}
    left_out = []
    for backup in last:
        was = were.get(_volume(backup))
        if was and was.tags["group"] != backup.tags.get("group"):
            reason = (
                f"has left group {was.tags['group']} since its backup {was.id[:8]}, made "
                f"{_told(was.created_at)}"
            )
            left_out.append(left(backup, reason, wanted=False))
    return found, left_out


def _by_manifest(
    known: Backups, backups: Sequence[StoredBackup], selection: Selection
) -> tuple[list[StoredBackup], list[LeftOut]]:
    """What filters leave that ask for more than the repository's list tells."""
    manifests, troubles = known.manifests(backups)
    found, left_out = [], []
    for backup in backups:
        if backup.id in troubles:
            left_out.append(left(backup, str(troubles[backup.id]), wanted=True))
        elif reason := selection.unwanted(manifests[backup.id].volume):
            left_out.append(left(backup, reason, wanted=False))
        else:
            found.append(backup)
    return found, left_out


def _by_time(backups: Sequence[StoredBackup]) -> list[StoredBackup]:
    return sorted(backups, key=lambda backup: backup.created_at)


def _volume(backup: StoredBackup) -> tuple[str, str | None]:
    return backup.tags["volume"], backup.tags.get("project")


def _told(moment: datetime) -> str:
    # As it is told: what is near the end of time cannot be had in another zone.
    return moment.isoformat(" ", "minutes")
