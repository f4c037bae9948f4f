"""What a restore is about to do, decided before it makes anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from volflow import archive, preflight
from volflow.archive import Archive
from volflow.cinder import Cinder
from volflow.errors import (
    BackupNotFoundError,
    UsageError,
    VolflowError,
)
from volflow.manifest import Manifest
from volflow.movers.base import Stored
from volflow.parts import Parts
from volflow.properties import check_overrides
from volflow.result import LeftOut
from volflow.selection import Selection, Volume, project_of


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
class RestoreOptions:
    """How to restore.

    :ivar new: make new volumes in any case
    :ivar into: id or name of the existing volume to restore into
    :ivar recreate_vol_on_error: restore into a copy of a volume that is attached
    :ivar keep_newer: keep what is on the target and not in the backup
    :ivar grow: let the file system take all of a volume that is larger than the old one
    :ivar verify: compare what was written with what is stored; ``remove_old_vol`` does so always
    :ivar meta_override: give the properties of the backup to a volume that is there, with these
        changes; None leaves them as they are
    :ivar type_map: volume types of this cloud by those of the backup
    :ivar az_map: availability zones of this cloud by those of the backup
    :ivar project_map: projects to restore to, by those of the backups
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
    project_map: Mapping[str, str] = field(default_factory=dict)
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

    @property
    def verified(self) -> bool:
        """Whether what was written is compared with what is stored."""
        return self.verify or self.remove_old_vol

    def mapped(self, manifest: Manifest) -> Manifest:
        """A manifest with the names of types and zones that this cloud has."""
        return manifest.mapped(self.type_map, self.az_map)

    def sources(self, project_id: str | None) -> set[str]:
        """The projects whose volumes are restored to a project."""
        mapped = {old for old, new in self.project_map.items() if new == project_id}
        return mapped or {str(project_id)}

    def owner(self, project_id: str | None) -> str | None:
        """The project to which the volumes of a project are restored: the same, unless told."""
        return self.project_map.get(project_id, project_id) if project_id else None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class RestoreTarget:
    """Where one backup goes.

    :ivar manifest: as it was stored: types and zones have the names of the cloud that it is from
    :ivar existing: the volume that is there: to be overwritten, to be copied or, with a new one,
        to be replaced; None where there is none
    :ivar in_the_way: why the replaced volume could not be removed now, where that was asked for
    :ivar joins: how it comes into the group that it was in; None where it does not
    """

    backup: Stored
    manifest: Manifest
    destination: Destination
    existing: dict[str, Any] | None = None
    in_the_way: str | None = None
    joins: Joining | None = None

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
    def from_dict(cls, values: Mapping[str, Any], known: Archive | None) -> RestoreTarget:
        """The same again; the manifest is read from the repository.

        :param known: the backups; None gives a target whose restore is only to be undone, with a
            manifest that says nothing
        :raises RepositoryError: the manifest cannot be read
        """
        created_at = datetime.fromisoformat(values["created_at"])
        backup = Stored(values["backup_id"], created_at, values["tags"])
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
    def group_key(self) -> str | None:
        """Names the group that it comes into, in its run; None where it comes into none.

        The group's id alone would not do: a manifest can name one of another project.
        """
        return f"{self.manifest.group['id']}@{self.project_id}" if self.joins else None

    @property
    def made_gib(self) -> int:
        """The size of the volume that is made for it; a copy has that of the volume now."""
        if self.destination is Destination.COPY and self.existing:
            return int(self.existing["size"])
        return self.manifest.size_gib

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
    """

    def __init__(self, targets: Iterable[RestoreTarget], left_out: Sequence[LeftOut] = ()) -> None:
        super().__init__(targets)
        self.left_out = tuple(left_out)


def choose(
    known: Archive,
    stored: Sequence[Stored],
    selection: Selection,
    *,
    projects: Collection[str],
    at: datetime | None,
) -> tuple[list[Stored], list[LeftOut]]:
    """The backups that a restore is to bring back, and those that the filters leave out.

    :param stored: the backups, the oldest first
    :param projects: those whose volumes are the caller's own, for ``--all``
    :param at: as it was at this moment
    :raises BackupNotFoundError: there is none
    """
    selection.check()
    before = archive.until(stored, at)
    if selection.volumes:
        return [archive.find(before, name) for name in selection.volumes], []
    found = archive.latest(before)
    if selection.everything:
        found = [backup for backup in found if backup.tags.get("project") in projects]
    elif selection.groups:
        found = [backup for backup in found if backup.tags.get("group") in selection.groups]
        missing = set(selection.groups) - {str(backup.tags.get("group")) for backup in found}
        if missing:
            raise BackupNotFoundError(
                f"There is no backup of a volume of group {', '.join(sorted(missing))}."
            )
    reasons = [selection.unwanted_backup(backup) for backup in found]
    if selection.metadata or selection.volume_type:
        wanted = [backup for backup, why in zip(found, reasons, strict=True) if why is None]
        manifests = dict(zip([b.id for b in wanted], known.manifests(wanted), strict=True))
        reasons = [
            why or selection.unwanted(manifests[backup.id].volume)
            for backup, why in zip(found, reasons, strict=True)
        ]
    left_out = [
        LeftOut(backup.tags["volume"], backup.tags.get("name", ""), why, False)
        for backup, why in zip(found, reasons, strict=True)
        if why
    ]
    found = [backup for backup, why in zip(found, reasons, strict=True) if why is None]
    if not found:
        lines = "".join(f"\n{one.name or one.volume_id}: {one.reason}" for one in left_out)
        raise BackupNotFoundError(f"There is no backup of what was selected.{lines}")
    return found, left_out


def plan_restore(
    parts: Parts, known: Archive, backups: Sequence[Stored], options: RestoreOptions
) -> list[RestoreTarget]:
    """Decide where each backup goes: back into its volume if that is there, else to a new one.

    :raises VolflowError: a volume is attached, busy or too small, or cannot be made anew; all of
        those that are, are told
    """
    options.check(len(backups))
    volumes = [backup.tags.get("volume") for backup in backups]
    if len(set(volumes)) < len(volumes):
        raise UsageError("Two of the backups are of the same volume; restore one at a time.")
    targets: list[RestoreTarget] = []
    troubles: list[VolflowError] = []
    for backup, manifest in zip(backups, known.manifests(backups), strict=True):
        try:
            targets.append(_target(parts, backup, manifest, options))
        except VolflowError as error:
            troubles.append(error)
    if len(troubles) == 1:
        raise troubles[0]
    if troubles:
        lines = "".join(f"\n{error}" for error in troubles)
        raise VolflowError(
            f"{len(troubles)} of {len(backups)} volumes cannot be restored so, and nothing was "
            f"done:{lines}"
        )
    _check_quota(parts, targets, options)
    return targets


def _check_quota(parts: Parts, targets: Sequence[RestoreTarget], options: RestoreOptions) -> None:
    """Make sure that each project's quota holds all that is to be made in it.

    :raises QuotaError: one does not
    """
    sizes: dict[str | None, list[int]] = defaultdict(list)
    for target in targets:
        if target.destination is Destination.NEW:
            sizes[options.owner(target.project_id)].append(target.manifest.size_gib)
    for project_id, each in sizes.items():
        preflight.new_volumes_fit(parts.cinder_in(project_id), each)


def _target(
    parts: Parts, backup: Stored, manifest: Manifest, options: RestoreOptions
) -> RestoreTarget:
    project_id = backup.tags.get("project")
    mover, cinder = parts.mover(project_id), parts.cinder_in(options.owner(project_id))
    preflight.sparse_files_fit(manifest, restores_holes=mover.restores_holes)
    if options.into:
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
        preflight.new_volume(cinder, options.mapped(manifest))
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
        return replace(target, in_the_way=preflight.in_the_way(cinder, existing))
    return target


def _is_of_others(volume: Volume | None, cinder: Cinder) -> bool:
    """Whether a volume is there, and is another project's."""
    return volume is not None and project_of(volume) not in ("", cinder.project_id)
