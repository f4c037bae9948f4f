"""What a backup is about to do, decided before it makes anything."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from volflow.cloud.cinder import Quota
from volflow.cloud.connection import Cloud
from volflow.cloud.groups import Groups
from volflow.errors import CloudError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans import preflight
from volflow.plans.quota import QuotaUse, VolumeSize
from volflow.plans.selection import Selected, Selection, Volume, project_of
from volflow.repositories.backups import Backups
from volflow.repositories.opened import Repositories
from volflow.results.outcome import LeftOut

if TYPE_CHECKING:
    from volflow.host.connector import Connector

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackupPlan:
    """What a backup is about to do.

    :ivar parallel: how many volumes at a time: what was asked for, or what the quota allows
    :ivar consistent: whether the volumes of a group are snapshotted at one moment, by group id
    :ivar stored: the backups that there are, the oldest first
    :ivar needs: what it takes of each quota for a while, at most
    :ivar whole: how many volumes there are to be backups of, by project, where it covers all of
        the project's
    """

    selected: Selected
    parallel: int
    consistent: dict[str, bool | None]
    stored: list[StoredBackup]
    needs: tuple[QuotaUse, ...] = ()
    whole: dict[str, int] = field(default_factory=dict)


def plan_backup(
    cloud: Cloud,
    repositories: Repositories,
    connector: Connector,
    known: Backups,
    selection: Selection,
    stored: list[StoredBackup] | None,
    parallel: int,
    *,
    as_tenant: bool,
) -> BackupPlan:
    """Find the volumes of a selection, and make sure that they can be backed up.

    :param stored: the backups that there are, where they have been looked up already
    :param parallel: how many volumes at a time, at most
    :param as_tenant: temporary things are made in the project of each volume, not of the login
    :raises VolflowError: what would fail later
    """
    selected = selection.find(cloud.cinder)
    projects = sorted({project_of(volume) for volume in selected.volumes})
    troubles = _not_acted_in(cloud, projects, as_tenant=as_tenant)
    if stored is None:
        stored, more = known.look(p for p in projects if p not in troubles)
        troubles |= more
    selected = _without(selected, lambda volume: troubles.get(project_of(volume)))
    paths = {
        repositories.of(project_id).local_path
        for project_id in {project_of(volume) for volume in selected.volumes}
    }
    preflight.repositories_apart(
        cloud.cinder, connector, sorted(filter(None, paths)), selected.volumes
    )
    # What is named is all meant; of what is only covered, some can be done without the rest.
    covered = selection.everything or selection.all_tenants
    selected, parallel, left = _by_quota(
        cloud, selected, parallel, leave_out=covered, as_tenant=as_tenant
    )
    groups = Groups(cloud.cinder)
    consistent: dict[str, bool | None] = dict.fromkeys(selected.apart, False)
    for group_id in selected.groups:
        consistent[group_id] = groups.consistent(groups.get(group_id))
    needs = _needs(cloud, selected, parallel, left, as_tenant=as_tenant)
    whole = _counted(selected, stored) if selection.whole else {}
    return BackupPlan(selected, parallel, consistent, stored, needs, whole)


def _counted(selected: Selected, stored: Sequence[StoredBackup]) -> dict[str, int]:
    """How many volumes of each project there are, of which there is or will be a backup."""
    found = Counter(project_of(volume) for volume in selected.volumes)
    backed_up = {backup.tags.get("volume"): backup.tags.get("project", "") for backup in stored}
    for one in selected.left_out:
        project_id = backed_up.get(one.volume_id)
        if one.wanted and project_id is not None and project_id in found:
            found[project_id] += 1
    return dict(found)


def _not_acted_in(
    cloud: Cloud, projects: Iterable[str], *, as_tenant: bool
) -> dict[str, VolflowError]:
    """The projects in which nothing can be made that would have to be, and why not."""
    troubles: dict[str, VolflowError] = {}
    if as_tenant:
        for project_id in projects:
            try:
                cloud.in_project(project_id)
            except CloudError as error:
                troubles[project_id] = error
    return troubles


def _without(selected: Selected, why: Callable[[Volume], VolflowError | None]) -> Selected:
    """Leave out the volumes that are in trouble; nobody else pays.

    :param why: the trouble that a volume is in, if any
    :raises VolflowError: nothing is left
    """
    troubles = [(volume, why(volume)) for volume in selected.volumes]
    volumes = [volume for volume, trouble in troubles if trouble is None]
    if not volumes:
        # Each once, and of one kind, so that the exit status is that of what happened.
        told = {str(trouble): trouble for _, trouble in troubles if trouble}
        raise type(next(iter(told.values())))("\n".join(told))
    left_out = [
        LeftOut(volume["id"], volume["name"] or "", str(trouble), True)
        for volume, trouble in troubles
        if trouble
    ]
    staying = {volume["id"] for volume in volumes}
    groups = {g: members for g, members in selected.groups.items() if staying.issuperset(members)}
    apart = [
        group
        for group, members in selected.groups.items()
        if group not in groups and staying.intersection(members)
    ]
    return replace(
        selected,
        volumes=volumes,
        left_out=[*selected.left_out, *left_out],
        groups=groups,
        apart=[*selected.apart, *apart],
    )


def _by_quota(
    cloud: Cloud, selected: Selected, parallel: int, *, leave_out: bool, as_tenant: bool
) -> tuple[Selected, int, dict[str, Quota]]:
    """As many at a time as the quota of each project allows in which temporary things are made.

    A project whose quota holds not even one is left out.

    :param leave_out: leave out volumes of which the quota of their type holds not even one, too
    :returns: what is covered, how many at a time, and what is left of each project's quota
    """
    troubles: dict[str, VolflowError] = {}
    quotas: dict[str, Quota] = {}
    for acting, mine in _by_acting(selected, as_tenant=as_tenant):
        try:
            cinder = cloud.in_project(acting)
            left = quotas[acting] = cinder.quota_left()
            together = _together(mine, selected.groups)
            if leave_out:
                no_room = preflight.no_room_for(cinder, left, together)
                troubles |= no_room
                mine = [volume for volume in mine if volume["id"] not in no_room]
                together = _together(mine, selected.groups)
            if not mine:
                continue
            allowed = preflight.parallel_by_quota(cinder, left, _sized(together), parallel)
        except CloudError as error:
            if not as_tenant:
                raise
            troubles |= {volume["id"]: error for volume in mine}
            continue
        # A project with few volumes does not hold back those of others.
        if allowed < min(parallel, len(mine)):
            LOG.warning(
                "%s at a time instead of %s: the quota of project %s holds no more.",
                *(allowed, parallel, acting or cloud.cinder.project_id),
            )
            parallel = allowed
    return _without(selected, lambda volume: troubles.get(volume["id"])), parallel, quotas


def _needs(
    cloud: Cloud,
    selected: Selected,
    parallel: int,
    left: Mapping[str, Quota],
    *,
    as_tenant: bool,
) -> tuple[QuotaUse, ...]:
    found = []
    for acting, mine in _by_acting(selected, as_tenant=as_tenant):
        cinder, together = cloud.in_project(acting), _sized(_together(mine, selected.groups))
        taken = preflight.needed(together, parallel)
        found.append(QuotaUse(str(cinder.project_id), *taken, left[acting]))
    return tuple(found)


def _by_acting(selected: Selected, *, as_tenant: bool) -> list[tuple[str, list[Volume]]]:
    """The volumes by the project in which temporary things are made for them: in that of the
    login where the project is empty.
    """
    found: dict[str, list[Volume]] = {}
    for volume in selected.volumes:
        found.setdefault(project_of(volume) if as_tenant else "", []).append(volume)
    return sorted(found.items())


def _together(volumes: Sequence[Volume], groups: Mapping[str, Sequence[str]]) -> list[list[Volume]]:
    """The volumes that are snapshotted together."""
    group_of = {key: group for group, members in groups.items() for key in members}
    found: dict[str, list[Volume]] = {}
    for volume in volumes:
        found.setdefault(group_of.get(volume["id"]) or str(volume["id"]), []).append(volume)
    return list(found.values())


def _sized(together: Sequence[Sequence[Volume]]) -> list[list[VolumeSize]]:
    return [[VolumeSize.of(volume) for volume in group] for group in together]
