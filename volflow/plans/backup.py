"""What a backup is going to do: decided before it creates anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from volflow.cloud.connection import Cloud
from volflow.cloud.volumes import project_of
from volflow.errors import CloudError, ConfigError, RepositoryError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans import backup_quota, preflight
from volflow.plans.quota import QuotaUse
from volflow.plans.selection import Selected, Selection
from volflow.repositories import full_reads
from volflow.repositories.backups import Backups, latest, parents
from volflow.repositories.opened import Repositories

if TYPE_CHECKING:
    from volflow.host.connector import Connector


@dataclass(frozen=True)
class BackupPlan:
    """What a backup is going to do.

    :ivar parallel: the number of volumes to back up in parallel: as requested, or as many as the
        quotas allow
    :ivar consistent: by group id, whether one snapshot covers all volumes of the group at the same
        time; None if Cinder does not show it
    :ivar stored: the backups in the repositories, the oldest first
    :ivar quota_use: what it takes of the quota of each project while it runs, at most
    :ivar volumes_in_project: the number of volumes in each project that have a backup afterwards,
        if the backup covers all volumes of the project
    :ivar by_filter: whether the volumes were found, not named
    """

    selected: Selected
    parallel: int
    consistent: dict[str, bool | None]
    stored: list[StoredBackup]
    quota_use: tuple[QuotaUse, ...] = ()
    volumes_in_project: dict[str, int] = field(default_factory=dict)
    by_filter: bool = False

    @property
    def parents(self) -> list[StoredBackup]:
        """The backups with which those of the selected volumes are compared."""
        return parents(self.stored)

    def full_reads_due(self, at: datetime, every: timedelta) -> frozenset[str]:
        """The ids of the volumes with a backup that are read completely nevertheless.

        :param at: when the backup runs
        :param every: how often everything is read; zero for never
        """
        selected = {volume["id"] for volume in self.selected.volumes}
        return frozenset(
            volume_id
            for parent in self.parents
            if (volume_id := parent.tags.get("volume", "")) in selected
            and full_reads.is_due(volume_id, at, full_reads.last(parent), every)
        )


@dataclass(frozen=True)
class BackupPlanner:
    """Decides what a backup does.

    :ivar backups: the backups in the repositories
    :ivar as_tenant: each volume's project owns the temporary resources, not the login's
    """

    cloud: Cloud
    repositories: Repositories
    connector: Connector
    backups: Backups
    as_tenant: bool

    def plan(
        self, selection: Selection, stored: list[StoredBackup] | None, parallel: int
    ) -> BackupPlan:
        """Find the selected volumes and make sure that they can be backed up.

        :param stored: the backups in the repositories, the oldest first, if already listed
        :param parallel: the number of volumes to back up in parallel, at most
        :raises VolflowError: what would fail later
        """
        selected = selection.find(self.cloud.cinder)
        projects = _projects(selected)
        troubles = self._projects_without_access(projects)
        if not self.repositories.per_project:
            self.repositories.of().check_writable()
        if stored is None:
            stored, unusable = self.backups.look(p for p in projects if p not in troubles)
            troubles |= unusable
            if self.repositories.per_project:
                troubles |= self._read_only(p for p in projects if p not in troubles)
        selected = selected.without(
            {
                volume["id"]: troubles[project_of(volume)]
                for volume in selected.volumes
                if project_of(volume) in troubles
            }
        )
        self._check_repositories(selected)
        allowed = backup_quota.limits(
            self.cloud,
            selected,
            parallel,
            # A volume that is named must be backed up; of all volumes, some can be left out.
            leave_out=selection.everything or selection.all_tenants,
            as_tenant=self.as_tenant,
        )
        selected = selected.without(allowed.troubles)
        return BackupPlan(
            selected,
            allowed.parallel,
            self._consistent(selected),
            stored,
            backup_quota.quota_use(self.cloud, selected, allowed, as_tenant=self.as_tenant),
            _volumes_in_project(selected, stored) if selection.covers_project else {},
            by_filter=not selection.volumes,
        )

    def _projects_without_access(self, projects: Iterable[str]) -> dict[str, VolflowError]:
        """Why no temporary resources can be created in a project, by its id."""
        troubles: dict[str, VolflowError] = {}
        for project_id in projects if self.as_tenant else ():
            try:
                self.cloud.in_project(project_id)
            except CloudError as error:
                troubles[project_id] = error
        return troubles

    def _read_only(self, projects: Iterable[str]) -> dict[str, VolflowError]:
        """Why nothing can be stored in the repository of a project, by its id."""
        troubles: dict[str, VolflowError] = {}
        for project_id in projects:
            try:
                self.repositories.of(project_id).check_writable()
            except (RepositoryError, ConfigError) as error:
                troubles[project_id] = error
        return troubles

    def _check_repositories(self, selected: Selected) -> None:
        paths = {self.repositories.of(one).local_path for one in _projects(selected)}
        preflight.check_repositories_elsewhere(
            self.cloud.cinder, self.connector, sorted(filter(None, paths)), selected.volumes
        )

    def _consistent(self, selected: Selected) -> dict[str, bool | None]:
        """Whether the volumes of each group are snapshotted at the same time, by group id."""
        groups = self.cloud.cinder.groups
        found: dict[str, bool | None] = dict.fromkeys(selected.split_groups, False)
        for group_id in selected.groups:
            found[group_id] = groups.consistent(groups.get(group_id))
        return found


def _projects(selected: Selected) -> list[str]:
    return sorted({project_of(volume) for volume in selected.volumes})


def _volumes_in_project(selected: Selected, stored: Sequence[StoredBackup]) -> dict[str, int]:
    """The number of volumes in each project that have a backup or get one."""
    found = Counter(project_of(volume) for volume in selected.volumes)
    backed_up = {one.tags.get("volume"): one.tags.get("project", "") for one in latest(stored)}
    for one in selected.left_out:
        project_id = backed_up.get(one.volume_id)
        if one.wanted and project_id is not None and project_id in found:
            found[project_id] += 1
    return dict(found)
