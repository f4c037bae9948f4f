"""Where a restore puts each backup: into the old volume, a copy of it, or a new volume."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from volflow.cloud.cinder import Cinder
from volflow.cloud.connection import Cloud
from volflow.cloud.marks import TAG_KEY, foreign_value
from volflow.cloud.volumes import Volume, project_of
from volflow.errors import DiskError, UsageError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans import preflight
from volflow.plans.quota import VolumeSize
from volflow.repositories.backups import Backups
from volflow.repositories.manifest import Manifest, sparse_files_fit
from volflow.repositories.opened import Repositories
from volflow.results.options import RestoreOptions


class Destination(StrEnum):
    """Where the data of one backup goes."""

    #: A new volume like the old one.
    NEW = "new"
    #: The old volume. It is reverted to a safety snapshot if the restore fails.
    IN_PLACE = "in place"
    #: A copy of the old volume, which is attached and stays unchanged.
    COPY = "copy"


class Joining(StrEnum):
    """Which group a restored volume joins."""

    #: The group that it was in, which still exists.
    EXISTING = "existing"
    #: A new group, which volflow creates for all volumes of the run that were in the old one.
    ANEW = "anew"


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar manifest: as stored: with the volume types and zones of the cloud of the backup
    :ivar existing: the old volume, if it exists: to overwrite, to copy or, if a new one is
        created, to replace
    :ivar in_the_way: why the replaced volume could not be removed now, if that was requested
    :ivar joins: which group it joins; None for no group
    :ivar per_project: the run also restores a backup of the same volume to another project
    """

    backup: StoredBackup
    manifest: Manifest
    destination: Destination
    existing: dict[str, Any] | None = None
    in_the_way: str | None = None
    joins: Joining | None = None
    per_project: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What a resumed run needs, as JSON values."""
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
    def from_dict(cls, values: Mapping[str, Any], backups: Backups | None) -> RestoreTarget:
        """The target of a stored run, with the manifest as read from the repository.

        :param backups: reads the manifest. None gives a target with an empty manifest, which is
            enough to undo a restore.
        :raises RepositoryError: the manifest cannot be read
        """
        created_at = datetime.fromisoformat(values["created_at"])
        backup = StoredBackup(values["backup_id"], created_at, values["tags"])
        destination = Destination(values["destination"])
        joins = Joining(values["joins"]) if values.get("joins") else None
        manifest = backups.manifest(backup) if backups else Manifest.missing(backup.tags["volume"])
        return cls(
            *(backup, manifest, destination, values["existing"]),
            in_the_way=values.get("in_the_way"),
            joins=joins,
        )

    @property
    def project_id(self) -> str | None:
        """The project of the volume when it was backed up: its repository holds the backup."""
        return self.backup.tags.get("project") or None

    @property
    def key(self) -> str:
        """Names the target in its run: the volume's id, with the project's if that is ambiguous."""
        volume_id = self.manifest.volume_id
        return f"{volume_id}@{self.project_id}" if self.per_project else volume_id

    @property
    def group_key(self) -> str | None:
        """Names the group that the target joins, in its run; None if it joins none.

        The group's id alone is ambiguous: a manifest can name a group of another project.
        """
        return f"{self.manifest.group['id']}@{self.project_id}" if self.joins else None

    def created_size(self, options: RestoreOptions) -> VolumeSize:
        """The size of the volume to create; a copy is as large as the old volume is now."""
        if self.destination is Destination.COPY and self.existing:
            return VolumeSize.of(self.existing)
        manifest = self.manifest.mapped(options.type_map, options.az_map)
        return VolumeSize(manifest.size_gib, manifest.volume["volume_type"])

    @property
    def overwritten(self) -> str | None:
        """The id of the volume that the restore overwrites, if any."""
        return (
            str(self.existing["id"])
            if self.existing and self.destination is Destination.IN_PLACE
            else None
        )

    @property
    def replaced(self) -> dict[str, Any] | None:
        """The old volume that the new volume replaces, if any."""
        return None if self.destination is Destination.IN_PLACE else self.existing


def choose_target(
    cloud: Cloud,
    repositories: Repositories,
    backup: StoredBackup,
    manifest: Manifest,
    options: RestoreOptions,
) -> RestoreTarget:
    """Decide where a backup goes: into its volume if that exists, else to a new one.

    :raises VolflowError: the volume is attached, busy or too small, or cannot be created
    """
    project_id = backup.tags.get("project")
    mover = repositories.mover(project_id)
    cinder = cloud.in_project(options.target_project(project_id))
    if manifest.holds_nothing:
        raise DiskError(
            f"Backup {backup.id[:8]} of {backup.tags.get('name') or manifest.volume_id} holds no "
            "file: the root directory could not be read when it was made. Name another backup of "
            "this volume; 'volflow backup list' shows them."
        )
    if options.merges and not options.new and not manifest.is_one_tree:
        raise UsageError(
            f"Backup {backup.id[:8]} of {backup.tags.get('name') or manifest.volume_id} is of a "
            "volume with several regions, or of an image: it can only be restored as a whole, "
            "without --keep-extra and --overwrite. 'volflow backup extract' gets single files."
        )
    sparse_files_fit(manifest, restores_holes=mover.restores_holes)
    existing = _existing_volume(cinder, manifest, options)
    if existing is None or options.new:
        preflight.check_volume_can_be_created(
            cinder, manifest.mapped(options.type_map, options.az_map)
        )
        target = RestoreTarget(backup, manifest, Destination.NEW, existing)
    elif options.recreate_vol_on_error and (
        existing["status"] == "in-use" or existing["attachments"]
    ):
        preflight.check_copy(cinder, existing, manifest)
        target = RestoreTarget(backup, manifest, Destination.COPY, existing)
    else:
        preflight.check_in_place(existing, manifest)
        return RestoreTarget(backup, manifest, Destination.IN_PLACE, existing)
    if options.remove_old_vol and existing is not None:
        # The old volume may still hold what the backup lacks.
        lacking = manifest.unread or not backup.finished
        why = f"the backup is {backup.outcome}" if lacking else None
        return replace(target, in_the_way=why or preflight.why_not_removable(cinder, existing))
    return target


def _existing_volume(cinder: Cinder, manifest: Manifest, options: RestoreOptions) -> Volume | None:
    """The volume to restore into or to replace: the one of ``--into``, or the old one if it exists.

    :raises ResourceNotFoundError: the volume of ``--into`` does not exist
    :raises UsageError: the volume of ``--into`` belongs to another project
    """
    if options.into is None:
        existing = cinder.volumes.existing(manifest.volume_id)
        # The id is from a backup, and an administrator sees the volumes of all projects. Or the
        # volume was transferred to another project after the backup.
        return None if _of_another_project(existing, cinder) else existing
    existing = cinder.volumes.find(options.into)
    if _of_another_project(existing, cinder):
        raise UsageError(
            f"Volume {options.into} belongs to another project than {cinder.project_id}, to which "
            "the backup is restored: data of one project must not go to another."
        )
    return existing


def _of_another_project(volume: Volume | None, cinder: Cinder) -> bool:
    """Whether the volume exists and belongs to another project."""
    return volume is not None and project_of(volume) not in ("", cinder.project_id)


def notes_on_marks(targets: Sequence[RestoreTarget]) -> list[str]:
    """Say which volumes keep what somebody else has under volflow's metadata key."""
    found = []
    for target in targets:
        new = target.destination is Destination.NEW
        volume = target.manifest.volume if new else target.existing
        value = foreign_value(volume) if volume else None
        if volume and value is not None:
            found.append(
                f"Volume {volume['name'] or volume['id']} has the metadata {TAG_KEY}={value}, "
                "which is not a mark of volflow. volflow needs this key during the restore, and "
                "sets it again afterwards."
            )
    return found


def one_of_each(
    targets: Sequence[RestoreTarget], *, per_project: bool
) -> tuple[list[RestoreTarget], dict[str, VolflowError]]:
    """Where several projects have a backup of one volume, choose which to restore.

    The volume may have been transferred, so that each project that had it has a backup. Or
    somebody who has the key of one project's repository has stored a backup there that claims to
    be of another project's volume: such a claim must not take the volume from its project.

    Cinder knows which project has the volume now: its backup is restored. If the volume does not
    exist, nobody knows. Then each project gets its own one back if each has its own repository.
    A shared repository was written by one operator, so that the last backup is right.

    :param per_project: each project has its own repository
    :returns: the targets to restore, and why each other backup is not restored, by its id
    """
    by_volume: dict[str, list[RestoreTarget]] = defaultdict(list)
    for target in targets:
        by_volume[target.manifest.volume_id].append(target)
    found: list[RestoreTarget] = []
    superseded: dict[str, VolflowError] = {}
    for volume_id, several in by_volume.items():
        having = [target for target in several if target.existing is not None]
        if len(several) == 1:
            found += several
        elif per_project and not having:
            found += [replace(target, per_project=True) for target in several]
        else:
            taken = max(having or several, key=lambda target: target.backup.created_at)
            found.append(taken)
            why = "has it now" if having else "had it last"
            for other in several:
                if other is not taken:
                    superseded[other.backup.id] = VolflowError(
                        f"Backup {other.backup.id[:8]} of project {other.project_id} is also of "
                        f"volume {volume_id}, but project {taken.project_id} {why}: backup "
                        f"{taken.backup.id[:8]} is restored. To restore the other one, name it."
                    )
    return found, superseded
