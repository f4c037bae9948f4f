"""What a restore is about to do, decided before it makes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from volflow import archive, preflight
from volflow.archive import Archive
from volflow.errors import BackupNotFoundError, ResourceNotFoundError, UsageError
from volflow.manifest import Manifest
from volflow.movers.base import Stored
from volflow.parts import Parts
from volflow.properties import check_overrides
from volflow.selection import Selection


class Destination(StrEnum):
    """Where the data of one backup goes."""

    #: A new volume like the old one.
    NEW = "new"
    #: The volume itself, which goes back to its safety snapshot if the restore fails.
    IN_PLACE = "in place"
    #: A copy of the volume, which is attached and stays as it is.
    COPY = "copy"


@dataclass(frozen=True)
class RestoreOptions:
    """How to restore.

    :ivar new: make new volumes in any case
    :ivar into: id or name of the existing volume to restore into
    :ivar recreate_vol_on_error: restore into a copy of a volume that is attached
    :ivar keep_newer: keep what is on the target and not in the backup
    :ivar grow: let the file system take all of a volume that is larger than the old one
    :ivar verify: compare what was written with what is stored
    :ivar meta_override: give the properties of the backup to a volume that is there, with these
        changes; None leaves them as they are
    :ivar type_map: volume types of this cloud by those of the backup
    :ivar az_map: availability zones of this cloud by those of the backup
    :ivar remove_old_vol: remove the volumes that restored ones replace, when all is verified
    """

    new: bool = False
    into: str | None = None
    recreate_vol_on_error: bool = False
    keep_newer: bool = False
    grow: bool = False
    verify: bool = False
    meta_override: Mapping[str, Any] | None = None
    type_map: Mapping[str, str] = field(default_factory=dict)
    az_map: Mapping[str, str] = field(default_factory=dict)
    remove_old_vol: bool = False

    def check(self, backups: int) -> None:
        """Make sure that the options go together.

        :param backups: how many backups they are for
        :raises UsageError: they do not
        """
        if self.into and (self.new or backups > 1):
            raise UsageError("--into takes one backup, and goes without --new.")
        if self.keep_newer and (self.new or self.grow):
            raise UsageError(
                "--keep-newer is for volumes that are there; it goes without --new and --grow."
            )
        if self.meta_override is not None:
            check_overrides(self.meta_override)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar existing: the volume that is there: to be overwritten, to be copied or, with a new one,
        to be replaced; None where there is none
    """

    backup: Stored
    manifest: Manifest
    destination: Destination
    existing: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know of it."""
        return {
            "backup_id": self.backup.id,
            "created_at": self.backup.created_at.isoformat(),
            "tags": dict(self.backup.tags),
            "destination": str(self.destination),
            "existing": self.existing,
        }

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], known: Archive, options: RestoreOptions
    ) -> RestoreTarget:
        """The same again; the manifest is read from the repository.

        :raises RepositoryError: it cannot be
        """
        created_at = datetime.fromisoformat(values["created_at"])
        backup = Stored(values["backup_id"], created_at, values["tags"])
        manifest = known.manifest(backup).mapped(options.type_map, options.az_map)
        return cls(backup, manifest, Destination(values["destination"]), values["existing"])

    @property
    def project_id(self) -> str | None:
        """The project that the volume was in, and is in again."""
        return self.backup.tags.get("project") or None

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
    parts: Parts, known: Archive, backups: Sequence[Stored], options: RestoreOptions
) -> list[RestoreTarget]:
    """Decide where each backup goes: back into its volume if that is there, else to a new one.

    :raises VolflowError: a volume is attached, busy or too small, or cannot be made anew
    """
    options.check(len(backups))
    volumes = [backup.tags.get("volume") for backup in backups]
    if len(set(volumes)) < len(volumes):
        raise UsageError("Two of the backups are of the same volume; restore one at a time.")
    manifests = [
        manifest.mapped(options.type_map, options.az_map) for manifest in known.manifests(backups)
    ]
    return [
        _target(parts, backup, manifest, options)
        for backup, manifest in zip(backups, manifests, strict=True)
    ]


def _target(
    parts: Parts, backup: Stored, manifest: Manifest, options: RestoreOptions
) -> RestoreTarget:
    project_id = backup.tags.get("project")
    mover, cinder = parts.mover(project_id), parts.cinder_in(project_id)
    preflight.sparse_files_fit(manifest, restores_holes=mover.restores_holes)
    if options.into:
        existing: dict[str, Any] | None = cinder.find_volume(options.into)
    else:
        try:
            existing = cinder.volume(manifest.volume_id)
        except ResourceNotFoundError:
            existing = None
    if existing is None or options.new:
        preflight.new_volume(cinder, manifest)
        return RestoreTarget(backup, manifest, Destination.NEW, existing)
    attached = existing["status"] == "in-use" or existing["attachments"]
    if attached and options.recreate_vol_on_error:
        preflight.copy_of(cinder, existing, manifest)
        return RestoreTarget(backup, manifest, Destination.COPY, existing)
    preflight.existing_target(existing, manifest)
    return RestoreTarget(backup, manifest, Destination.IN_PLACE, existing)
