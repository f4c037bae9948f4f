"""What a restore is going to do: decided before it creates or changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from volflow.cloud.connection import Cloud
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import UsageError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans import preflight
from volflow.plans.quota import QuotaUse
from volflow.plans.restore_file_systems import rehearse
from volflow.plans.restore_groups import assign_groups, notes_on_groups
from volflow.plans.restore_options import check_options
from volflow.plans.restore_quota import quota_use, within_quotas
from volflow.plans.restore_source import choose, notes_on_backups
from volflow.plans.restore_target import (
    Destination,
    RestoreTarget,
    choose_target,
    notes_on_marks,
    one_of_each,
)
from volflow.plans.selection import Selection
from volflow.repositories.backups import Backups, latest
from volflow.repositories.manifest import Manifest
from volflow.repositories.opened import Repositories
from volflow.results.options import RestoreOptions
from volflow.results.outcome import LeftOut


@dataclass(frozen=True)
class LastBackup:
    """The last backup of a volume that is overwritten: it shows what was on the volume.

    :ivar file_systems: their types, empty if they are not known
    """

    backup: StoredBackup
    file_systems: tuple[str, ...]


@dataclass(frozen=True)
class RestorePlan:
    """What a restore is going to do.

    :ivar targets: where each backup goes
    :ivar options: the options that it was planned with
    :ivar parallel: the number of volumes to restore in parallel: as requested, or as many as the
        quotas allow
    :ivar quota_use: what it takes of the quota of each project, at most
    :ivar left_out: what was selected and is not restored, and why
    :ivar notes: what a person should know about it, one sentence each
    :ivar last_backups: the last backup of each volume that is overwritten, by the target's key
    """

    targets: tuple[RestoreTarget, ...]
    options: RestoreOptions
    parallel: int
    quota_use: tuple[QuotaUse, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    last_backups: Mapping[str, LastBackup] = field(default_factory=dict)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The keys of the targets that join each group, by the group's key."""
        found: dict[str, list[str]] = {}
        for target in self.targets:
            if target.group_key:
                found.setdefault(target.group_key, []).append(target.key)
        return found


@dataclass(frozen=True)
class RestorePlanner:
    """Decides what a restore does.

    :ivar backups: the backups in the repositories
    :ivar rehearsal: tries which file systems this host can create
    """

    cloud: Cloud
    repositories: Repositories
    backups: Backups
    rehearsal: Rehearsal

    def plan(
        self,
        selection: Selection,
        options: RestoreOptions,
        stored: list[StoredBackup] | None,
        parallel: int,
        *,
        at: datetime | None = None,
    ) -> RestorePlan:
        """Choose the backups and decide where each goes.

        A backup that is named must be restorable, or nothing is. Of the backups of a whole
        project or group, one that cannot be restored is left out and does not stop the others.

        :param stored: the backups in the repositories, the oldest first, if already listed
        :param parallel: the number of volumes to restore in parallel, at most
        :param at: restore the volumes as of this time
        :raises BackupNotFoundError: no backup matches the selection
        :raises UsageError: the options do not go together
        :raises VolflowError: a volume is attached, busy or too small, or cannot be created; the
            message lists all of them. Or none of those selected can be restored.
        """
        named = bool(selection.volumes)
        projects = options.source_projects(self.cloud.cinder.project_id)
        if selection.all_tenants:
            self.cloud.cinder.volumes.require_all_tenants()
        unusable: Mapping[str, VolflowError] = {}
        if stored is None and selection.all_tenants:
            stored, unusable = self.backups.look_everywhere(options.project_map)
        elif stored is None:
            stored, unusable = self.backups.look(projects)
        if unusable and (named or not stored):
            errors = list(unusable.values())
            raise type(errors[0])("\n".join(map(str, errors)))
        chosen = choose(
            self.backups,
            stored,
            selection,
            projects=projects,
            at=at,
            partial=options.allow_partial,
            exists=self._exists,
        )
        targets, not_restorable, notes_on_file_systems = self._targets(
            chosen.backups, options, all_or_nothing=named
        )
        targets = assign_groups(
            self.cloud, targets, options, groups_selected=bool(selection.groups)
        )
        parallel, use = quota_use(self.cloud, targets, options, parallel)
        return RestorePlan(
            targets=tuple(targets),
            options=options,
            parallel=parallel,
            quota_use=tuple(use),
            left_out=(
                *(
                    LeftOut("", f"project {project_id}", str(error), True)
                    for project_id, error in unusable.items()
                ),
                *chosen.left_out,
                *not_restorable,
            ),
            notes=(
                *chosen.notes,
                *self._notes_on_namesakes(selection, options, targets),
                *notes_on_groups(targets),
                *notes_on_marks(targets),
                *notes_on_file_systems,
                *notes_on_backups(stored, [target.backup for target in targets]),
            ),
            last_backups=self._last_backups(targets, stored),
        )

    def _last_backups(
        self, targets: Iterable[RestoreTarget], stored: Iterable[StoredBackup]
    ) -> dict[str, LastBackup]:
        """The last backups of the volumes that are overwritten."""
        known = {one.tags["volume"]: one for one in latest(stored, by_project=False)}
        wanted = {
            target.key: known[target.overwritten]
            for target in targets
            if target.overwritten in known
        }
        manifests, _ = self.backups.manifests(list(wanted.values()))
        return {
            key: LastBackup(
                backup,
                _types(manifests[backup.id]) if backup.id in manifests else (),
            )
            for key, backup in wanted.items()
        }

    def _notes_on_namesakes(
        self, selection: Selection, options: RestoreOptions, targets: Iterable[RestoreTarget]
    ) -> list[str]:
        """Say which existing volumes a name does not mean, because another one had it.

        :raises UsageError: the volume of the backup has another name now, and another volume has
            that name: it must not be overwritten by a name that it has lost
        """
        notes = []
        for target in targets:
            name = target.manifest.volume["name"]
            if name not in selection.volumes:
                continue
            source = target.backup.tags["volume"]
            others = [
                volume["id"]
                for volume in self.cloud.cinder.volumes.named(name)
                if volume["id"] != source
            ]
            if not others:
                continue
            if target.destination is Destination.NEW:
                notes.append(
                    f"{named(others, name)} too. This backup is of volume "
                    f"{source}, and goes to a new volume; --into restores it into an existing one."
                )
            elif not options.into and target.existing and target.existing["id"] == source:
                now = target.existing["name"] or "without a name"
                if now != name:
                    raise UsageError(
                        f"Volume {source} was named '{name}' when backup {target.backup.id[:8]} "
                        f"was made, and is '{now}' now. {named(others, name)}. "
                        "Give the id of the volume or of the backup."
                    )
        return notes

    def _exists(self, volume_id: str) -> bool:
        return self.cloud.cinder.volumes.existing(volume_id) is not None

    def _targets(
        self, backups: Sequence[StoredBackup], options: RestoreOptions, *, all_or_nothing: bool
    ) -> tuple[list[RestoreTarget], list[LeftOut], list[str]]:
        """Where each backup goes, which volumes cannot be restored, and notes."""
        check_options(options, len(backups))
        if all_or_nothing:
            _refuse_two_of_one_volume(backups)
        manifests, unreadable = self.backups.manifests(backups)
        _check_maps(options, manifests.values())
        targets: list[RestoreTarget] = []
        refused: dict[str, VolflowError] = {}
        for backup in backups:
            if backup.id not in manifests:
                continue
            try:
                targets.append(
                    choose_target(
                        self.cloud, self.repositories, backup, manifests[backup.id], options
                    )
                )
            except VolflowError as error:
                refused[backup.id] = error
        targets, superseded = one_of_each(targets, per_project=self.repositories.per_project)
        targets, not_created, notes = rehearse(self.rehearsal, targets, options)
        targets, over_quota = within_quotas(self.cloud, targets, options)
        troubles = {**unreadable, **refused, **superseded, **not_created, **over_quota}
        if troubles and (all_or_nothing or not targets):
            raise _as_one(list(troubles.values()), len(backups))
        if options.remove_old_vol and all(t.destination is Destination.IN_PLACE for t in targets):
            raise UsageError(
                "--remove-old-vol removes old volumes that new ones replace, but all of these are "
                "restored in place. Use --new to create new volumes."
            )
        return (
            targets,
            [
                LeftOut(b.tags["volume"], b.tags.get("name", ""), str(troubles[b.id]), True)
                for b in backups
                if b.id in troubles
            ],
            notes,
        )


def _types(manifest: Manifest) -> tuple[str, ...]:
    """What was on a volume, by the types of its regions."""
    return tuple(dict.fromkeys(region.type for region in manifest.regions if region.type))


def named(others: Sequence[str], name: str) -> str:
    """Say that other volumes have a name, as a sentence without its period."""
    volumes = f"Volume {others[0]} is" if len(others) == 1 else f"Volumes {', '.join(others)} are"
    return f"{volumes} named '{name}'"


def _check_maps(options: RestoreOptions, manifests: Iterable[Manifest]) -> None:
    """Make sure that ``--type-map`` and ``--az-map`` map only names that the backups have."""
    known = list(manifests)
    types = {name for manifest in known for name in manifest.type_names}
    zones = {name for manifest in known for name in manifest.zone_names}
    preflight.check_map("--type-map", options.type_map, types)
    preflight.check_map("--az-map", options.az_map, zones)


def _as_one(errors: Sequence[VolflowError], count: int) -> VolflowError:
    """One error that lists these.

    :param count: the number of backups to restore
    """
    texts = dict.fromkeys(map(str, errors))
    if len(texts) == 1:
        return errors[0]
    lines = "".join(f"\n{text}" for text in texts)
    return VolflowError(
        f"{len(errors)} of {count} volumes cannot be restored this way, so nothing was restored:"
        f"{lines}"
    )


def _refuse_two_of_one_volume(backups: Sequence[StoredBackup]) -> None:
    """Refuse two backups of the same volume.

    :raises UsageError: naming the volume and its backups
    """
    seen: dict[str, StoredBackup] = {}
    for backup in backups:
        other = seen.setdefault(str(backup.tags.get("volume")), backup)
        if other is not backup:
            raise UsageError(
                f"Backups {other.id[:8]} and {backup.id[:8]} are of the same volume, "
                f"{backup.tags.get('volume')}: restore only one of them."
            )
