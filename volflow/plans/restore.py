"""What a restore is about to do, decided before it makes anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from volflow.cloud.cinder import Cinder
from volflow.cloud.connection import Cloud
from volflow.errors import QuotaError, UsageError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans import preflight
from volflow.plans.quota import QuotaUse, VolumeSize, for_restore
from volflow.plans.restore_options import check_options
from volflow.plans.selection import Volume, project_of
from volflow.repositories.backups import Backups
from volflow.repositories.manifest import Manifest, sparse_files_fit
from volflow.repositories.opened import Repositories
from volflow.results.options import RestoreOptions
from volflow.results.outcome import LeftOut


class Destination(StrEnum):
    """Where the data of one backup goes."""

    #: A new volume like the old one.
    NEW = "new"
    #: The volume itself, which goes back to its safety snapshot if the restore fails.
    IN_PLACE = "in place"
    #: A copy of the volume, which is attached and stays as it is.
    COPY = "copy"


class Joining(StrEnum):
    """How a restored volume comes into a group."""

    #: The group that it was in is there.
    EXISTING = "existing"
    #: It is made anew, for all volumes of the run that were in it.
    ANEW = "anew"


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar manifest: as it was stored: types and zones have the names of the cloud that it is from
    :ivar existing: the volume that is there: to be overwritten, to be copied or, with a new one,
        to be replaced; None where there is none
    :ivar in_the_way: why the replaced volume could not be removed now, where that was asked for
    :ivar joins: how it comes into the group that it was in; None where it does not
    :ivar apart: the run restores a backup of the same volume to another project, too
    """

    backup: StoredBackup
    manifest: Manifest
    destination: Destination
    existing: dict[str, Any] | None = None
    in_the_way: str | None = None
    joins: Joining | None = None
    apart: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know of it."""
        return {
            "backup_id": self.backup.id,
            "created_at": self.backup.created_at.isoformat(),
            "tags": dict(self.backup.tags),
            "destination": str(self.destination),
            "existing": self.existing,
            "in_the_way": self.in_the_way,
            "joins": self.joins,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], known: Backups | None) -> RestoreTarget:
        """The same again; the manifest is read from the repository.

        :param known: the backups; None gives a target whose restore is only to be undone, with a
            manifest that says nothing
        :raises RepositoryError: the manifest cannot be read
        """
        created_at = datetime.fromisoformat(values["created_at"])
        backup = StoredBackup(values["backup_id"], created_at, values["tags"])
        destination = Destination(values["destination"])
        joins = Joining(values["joins"]) if values.get("joins") else None
        manifest = known.manifest(backup) if known else Manifest.missing(backup.tags["volume"])
        return cls(
            *(backup, manifest, destination, values["existing"]),
            in_the_way=values.get("in_the_way"),
            joins=joins,
        )

    @property
    def project_id(self) -> str | None:
        """The project that the volume was in, in whose repository the backup is."""
        return self.backup.tags.get("project") or None

    @property
    def key(self) -> str:
        """Names it in its run: the volume's id, with the project's where that is not enough."""
        volume_id = self.manifest.volume_id
        return f"{volume_id}@{self.project_id}" if self.apart else volume_id

    @property
    def group_key(self) -> str | None:
        """Names the group that it comes into, in its run; None where it comes into none.

        The group's id alone would not do: a manifest can name one of another project.
        """
        return f"{self.manifest.group['id']}@{self.project_id}" if self.joins else None

    def made(self, options: RestoreOptions) -> VolumeSize:
        """The volume that is made for it; a copy is like the volume now."""
        if self.destination is Destination.COPY and self.existing:
            return VolumeSize.of(self.existing)
        manifest = self.manifest.mapped(options.type_map, options.az_map)
        return VolumeSize(manifest.size_gib, manifest.volume["volume_type"])

    @property
    def overwritten(self) -> str | None:
        """The volume whose content is lost, if there is one."""
        return (
            str(self.existing["id"])
            if self.existing and self.destination is Destination.IN_PLACE
            else None
        )

    @property
    def replaced(self) -> dict[str, Any] | None:
        """The volume that stands beside the restored one afterwards, if there is one."""
        return None if self.destination is Destination.IN_PLACE else self.existing


class RestorePlan(list[RestoreTarget]):
    """Where each backup goes.

    :ivar left_out: what was selected and is not restored, and why
    :ivar notes: what a person should know of it, a sentence each
    """

    def __init__(
        self,
        targets: Iterable[RestoreTarget],
        left_out: Sequence[LeftOut] = (),
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(targets)
        self.left_out = tuple(left_out)
        self.notes = tuple(notes)


def plan_restore(
    cloud: Cloud,
    repositories: Repositories,
    known: Backups,
    backups: Sequence[StoredBackup],
    options: RestoreOptions,
    *,
    whole: bool = False,
) -> RestorePlan:
    """Decide where each backup goes: back into its volume if that is there, else to a new one.

    :param whole: they are all that there are of a tenant or a group. One that cannot be restored
        is left out then, and stops no other.
    :raises VolflowError: a volume is attached, busy or too small, or cannot be made anew; all of
        those that are, are told. Where ``whole``, no volume can be restored.
    """
    check_options(options, len(backups))
    if not whole:
        _no_doubles(backups)
    manifests, troubles = known.manifests(backups)
    types = {name for manifest in manifests.values() for name in manifest.type_names}
    zones = {name for manifest in manifests.values() for name in manifest.zone_names}
    preflight.map_matches("--type-map", options.type_map, types)
    preflight.map_matches("--az-map", options.az_map, zones)
    targets: list[RestoreTarget] = []
    for backup in backups:
        if backup.id in manifests:
            try:
                targets.append(_target(cloud, repositories, backup, manifests[backup.id], options))
            except VolflowError as error:
                troubles[backup.id] = error
    targets = _one_of_each(targets, troubles, apart=repositories.per_project)
    targets = _within_quotas(cloud, targets, options, troubles)
    if troubles and not (whole and targets):
        raise _together(list(troubles.values()), len(backups))
    if options.remove_old_vol and all(t.destination is Destination.IN_PLACE for t in targets):
        raise UsageError(
            "--remove-old-vol removes what new volumes replace, and all of these are restored in "
            "place; --new makes new ones."
        )
    return RestorePlan(
        targets,
        [
            LeftOut(b.tags["volume"], b.tags.get("name", ""), str(troubles[b.id]), True)
            for b in backups
            if b.id in troubles
        ],
    )


def _together(troubles: Sequence[VolflowError], count: int) -> VolflowError:
    """One error for all troubles of so many backups."""
    told = {str(error): error for error in troubles}
    if len(told) == 1:
        return troubles[0]
    lines = "".join(f"\n{text}" for text in told)
    return VolflowError(
        f"{len(troubles)} of {count} volumes cannot be restored so, and nothing was done:{lines}"
    )


def _no_doubles(backups: Sequence[StoredBackup]) -> None:
    """Make sure that no volume is asked for twice.

    :raises UsageError: naming the volume and its backups
    """
    seen: dict[str, StoredBackup] = {}
    for backup in backups:
        other = seen.setdefault(str(backup.tags.get("volume")), backup)
        if other is not backup:
            raise UsageError(
                f"Backups {other.id[:8]} and {backup.id[:8]} are of the same volume, "
                f"{backup.tags.get('volume')}: restore one at a time."
            )


def _one_of_each(
    targets: Sequence[RestoreTarget], troubles: dict[str, VolflowError], *, apart: bool
) -> list[RestoreTarget]:
    """Of the backups of one volume that several projects have, those that are restored.

    The volume may have been transferred, and each project that had it has a backup. Or who has the
    key of one project's repository has put a backup there that says that it is of another's
    volume: so what repositories say of themselves must not take the volume from its project.

    Cinder says who has the volume now: its backup is taken. Where the volume is gone, nobody can
    say: then each project gets its own back, where each has a repository of its own. What is in
    one repository was written by one operator, and the last backup is taken.

    :param troubles: why a backup is not restored, by its id; added to
    """
    by_volume: dict[str, list[RestoreTarget]] = defaultdict(list)
    for target in targets:
        by_volume[target.manifest.volume_id].append(target)
    found: list[RestoreTarget] = []
    for volume_id, several in by_volume.items():
        having = [target for target in several if target.existing is not None]
        if len(several) == 1:
            found += several
        elif apart and not having:
            found += [replace(target, apart=True) for target in several]
        else:
            taken = max(having or several, key=lambda target: target.backup.created_at)
            found.append(taken)
            why = "has it now" if having else "had it last"
            for other in several:
                if other is not taken:
                    troubles[other.backup.id] = VolflowError(
                        f"Backup {other.backup.id[:8]} of project {other.project_id} is of volume "
                        f"{volume_id} too, and project {taken.project_id} {why}: backup "
                        f"{taken.backup.id[:8]} is restored. Name the other one to restore it."
                    )
    return found


def _within_quotas(
    cloud: Cloud,
    targets: Sequence[RestoreTarget],
    options: RestoreOptions,
    troubles: dict[str, VolflowError],
) -> list[RestoreTarget]:
    """What the quotas of the projects hold of what is to be made in them.

    :param troubles: why a backup is not restored, by its id; added to
    """
    found: list[RestoreTarget] = []
    for owner, mine in _by_owner(targets, options).items():
        made = [t.made(options) for t in mine if t.destination is Destination.NEW]
        try:
            if made:
                preflight.new_volumes_fit(cloud.in_project(owner), made)
            _need(cloud, owner, mine, options, 1)
        except QuotaError as error:
            troubles |= {target.backup.id: error for target in mine}
        else:
            found += mine
    return found


def restore_needs(
    cloud: Cloud, targets: Sequence[RestoreTarget], options: RestoreOptions, parallel: int
) -> tuple[int, list[QuotaUse]]:
    """How many volumes at a time the quotas allow, and what a restore takes of them.

    :param parallel: as many at most
    :raises QuotaError: one does not allow even one
    """
    needs = []
    for owner, mine in _by_owner(targets, options).items():
        parallel, need = _need(cloud, owner, mine, options, parallel)
        needs.append(need)
    return parallel, needs


def _by_owner(
    targets: Sequence[RestoreTarget], options: RestoreOptions
) -> dict[str | None, list[RestoreTarget]]:
    found: dict[str | None, list[RestoreTarget]] = defaultdict(list)
    for target in targets:
        found[options.target_project(target.project_id)].append(target)
    return found


def _need(
    cloud: Cloud,
    owner: str | None,
    targets: Sequence[RestoreTarget],
    options: RestoreOptions,
    parallel: int,
) -> tuple[int, QuotaUse]:
    made = [t for t in targets if t.destination is not Destination.IN_PLACE]
    kept = [t for t in targets if t.destination is not Destination.NEW]
    return for_restore(
        cloud.in_project(owner),
        [t.made(options) for t in made],
        [VolumeSize.of(t.existing) for t in kept if t.existing],
        parallel,
    )


def _target(
    cloud: Cloud,
    repositories: Repositories,
    backup: StoredBackup,
    manifest: Manifest,
    options: RestoreOptions,
) -> RestoreTarget:
    project_id = backup.tags.get("project")
    mover, cinder = (
        repositories.of(project_id),
        cloud.in_project(options.target_project(project_id)),
    )
    sparse_files_fit(manifest, restores_holes=mover.restores_holes)
    if options.into is not None:
        existing: dict[str, Any] | None = cinder.find_volume(options.into)
        if _is_of_others(existing, cinder):
            raise UsageError(
                f"Volume {options.into} does not belong to project {cinder.project_id}, as the "
                "backup does: what is one's must not become another's."
            )
    else:
        existing = cinder.existing_volume(manifest.volume_id)
        if _is_of_others(existing, cinder):
            # The id is from a backup, and an administrator sees the volumes of others. It may have
            # been transferred since, too: then this project has it no more.
            existing = None
    if existing is None or options.new:
        preflight.new_volume(cinder, manifest.mapped(options.type_map, options.az_map))
        target = RestoreTarget(backup, manifest, Destination.NEW, existing)
    elif options.recreate_vol_on_error and (
        existing["status"] == "in-use" or existing["attachments"]
    ):
        preflight.copy_of(cinder, existing, manifest)
        target = RestoreTarget(backup, manifest, Destination.COPY, existing)
    else:
        preflight.existing_target(existing, manifest)
        return RestoreTarget(backup, manifest, Destination.IN_PLACE, existing)
    if options.remove_old_vol and existing is not None:
        # What the backup does not have is perhaps still there.
        why = "the backup is partial" if manifest.unread else None
        return replace(target, in_the_way=why or preflight.in_the_way(cinder, existing))
    return target


def _is_of_others(volume: Volume | None, cinder: Cinder) -> bool:
    """Whether a volume is there, and is another project's."""
    return volume is not None and project_of(volume) not in ("", cinder.project_id)
