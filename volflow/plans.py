"""What a run is about to do, decided before it makes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from volflow import archive, preflight
from volflow.archive import Archive
from volflow.errors import (
    BackupNotFoundError,
    RepositoryError,
    ResourceNotFoundError,
    UsageError,
)
from volflow.manifest import Manifest
from volflow.movers.base import Stored
from volflow.parts import Parts
from volflow.result import LeftOut
from volflow.selection import Selected, Selection, Volume, project_of


@dataclass(frozen=True)
class BackupPlan:
    """What a backup is about to do.

    :ivar parallel: how many volumes at a time: what was asked for, or what the quota allows
    :ivar consistent: whether the volumes of a group are snapshotted at one moment, by group id
    :ivar stored: the backups that there are, the oldest first
    """

    selected: Selected
    parallel: int
    consistent: dict[str, bool]
    stored: list[Stored]


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar target_id: the volume to overwrite; None for a new one
    """

    backup: Stored
    manifest: Manifest
    target_id: str | None

    @property
    def project_id(self) -> str | None:
        """The project that the volume was in, and is in again."""
        return self.backup.tags.get("project") or None


def plan_backup(
    parts: Parts, known: Archive, selection: Selection, stored: list[Stored] | None, parallel: int
) -> BackupPlan:
    """Find the volumes of a selection, and make sure that they can be backed up.

    :param stored: the backups that there are, where they have been looked up already
    :param parallel: how many volumes at a time, at most
    :raises VolflowError: what would fail later
    """
    selected = selection.find(parts.cinder)
    if stored is None:
        selected, stored = _with_repository(parts, known, selected)
    for project_id in sorted({project_of(volume) for volume in selected.volumes}):
        path = parts.mover(project_id).local_path
        preflight.repository_apart(parts.cinder, parts.connector, path, selected.volumes)
    parallel = _parallel(parts, selected.volumes, parallel)
    consistent = {
        group_id: parts.cinder.snapshots_consistently(parts.cinder.group(group_id))
        for group_id in selected.groups
    }
    return BackupPlan(selected, parallel, consistent, stored)


def _parallel(parts: Parts, volumes: Sequence[Volume], parallel: int) -> int:
    """As many at a time as the quota of each project allows in which temporary things are made."""
    sizes: dict[str | None, list[int]] = {}
    for volume in volumes:
        acting = project_of(volume) if parts.conf.cloud.act_in == "tenant" else None
        sizes.setdefault(acting, []).append(int(volume["size"]))
    for acting, found in sizes.items():
        allowed = preflight.parallel_by_quota(parts.cinder_in(acting), found, parallel)
        # A project with few volumes does not hold back those of others.
        if allowed < min(parallel, len(found)):
            parallel = allowed
    return parallel


def _with_repository(
    parts: Parts, known: Archive, selected: Selected
) -> tuple[Selected, list[Stored]]:
    """Leave out the volumes of projects whose repository cannot be used; nobody else pays."""
    stored: list[Stored] = []
    trouble: dict[str, str] = {}
    for project_id in sorted({project_of(volume) for volume in selected.volumes}):
        try:
            stored += known.backups([project_id])
        except RepositoryError as error:
            trouble[project_id] = str(error)
    left_out = [
        LeftOut(volume["id"], volume["name"] or "", trouble[project_of(volume)], True)
        for volume in selected.volumes
        if project_of(volume) in trouble
    ]
    volumes = [v for v in selected.volumes if project_of(v) not in trouble]
    if not volumes:
        raise RepositoryError("\n".join(trouble.values()))
    stored.sort(key=lambda backup: backup.created_at)
    return Selected(volumes, [*selected.left_out, *left_out], selected.groups), stored


def choose(
    stored: Sequence[Stored], selection: Selection, *, project_id: str | None, at: datetime | None
) -> list[Stored]:
    """The backups that a restore is to bring back.

    :param stored: the backups, the oldest first
    :param project_id: the caller's project, for ``--all``
    :param at: as it was at this moment
    :raises BackupNotFoundError: there is none
    """
    selection.check()
    before = archive.until(stored, at)
    if selection.volumes:
        return [archive.find(before, name) for name in selection.volumes]
    found = archive.latest(before)
    if selection.everything:
        found = [backup for backup in found if backup.tags.get("project") == project_id]
    elif selection.groups:
        found = [backup for backup in found if backup.tags.get("group") in selection.groups]
    found = [backup for backup in found if selection.wants_backup(backup)]
    if not found:
        raise BackupNotFoundError("There is no backup of what was selected.")
    return found


def plan_restore(
    parts: Parts, known: Archive, backups: Sequence[Stored], *, new: bool, into: str | None
) -> list[RestoreTarget]:
    """Decide where each backup goes: back into its volume if that is there, else to a new one.

    :param new: make new volumes in any case
    :param into: id or name of the existing volume to restore into
    :raises VolflowError: a volume is attached, busy or too small, or cannot be made anew
    """
    if into and (new or len(backups) > 1):
        raise UsageError("--into takes one backup, and goes without --new.")
    volumes = [backup.tags.get("volume") for backup in backups]
    if len(set(volumes)) < len(volumes):
        raise UsageError("Two of the backups are of the same volume; restore one at a time.")
    manifests = known.manifests(backups)
    return [
        _target(parts, backup, manifest, new, into)
        for backup, manifest in zip(backups, manifests, strict=True)
    ]


def _target(
    parts: Parts, backup: Stored, manifest: Manifest, new: bool, into: str | None
) -> RestoreTarget:
    project_id = backup.tags.get("project")
    mover, cinder = parts.mover(project_id), parts.cinder_in(project_id)
    preflight.sparse_files_fit(manifest, restores_holes=mover.restores_holes)
    target = None
    if into:
        target = cinder.find_volume(into)
    elif not new:
        try:
            target = cinder.volume(manifest.volume_id)
        except ResourceNotFoundError:
            target = None
    if target is None:
        preflight.new_volume(cinder, manifest)
    else:
        preflight.existing_target(target, manifest)
    return RestoreTarget(backup, manifest, target["id"] if target else None)
