"""What a backup takes of the quotas, and how many volumes it can back up in parallel."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from volflow.cloud.connection import Cloud
from volflow.cloud.quotas import Quota, counted
from volflow.cloud.volumes import Volume, project_of
from volflow.errors import CloudError, VolflowError
from volflow.plans.quota import (
    QuotaUse,
    VolumeSize,
    parallel_by_quota,
    temporary_use,
    volumes_without_room,
)
from volflow.plans.selection import Selected

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuotaLimits:
    """What the quotas allow.

    :ivar parallel: the number of volumes to back up in parallel
    :ivar left: the free quota of each project that owns temporary resources
    :ivar troubles: why a volume cannot be backed up, by its id
    """

    parallel: int
    left: Mapping[str, Quota] = field(default_factory=dict)
    troubles: Mapping[str, VolflowError] = field(default_factory=dict)


def limits(
    cloud: Cloud, selected: Selected, parallel: int, *, leave_out: bool, as_tenant: bool
) -> QuotaLimits:
    """Find how many volumes the quotas allow in parallel, and which they do not allow at all.

    :param parallel: at most this many
    :param leave_out: find volumes whose volume type has no quota left for even one of them, rather
        than refuse them all
    :param as_tenant: each volume's project owns the temporary resources, not the login's
    :raises CloudError: the login's project cannot be used, if it owns the temporary resources
    """
    troubles: dict[str, VolflowError] = {}
    quotas: dict[str, Quota] = {}
    for owner, mine in _by_owner(selected, as_tenant=as_tenant):
        try:
            cinder = cloud.in_project(owner)
            left = quotas[owner] = cinder.quotas.left()
            together = _snapshotted_together(mine, selected.groups)
            if leave_out:
                no_room = volumes_without_room(cinder, left, together)
                troubles |= no_room
                mine = [volume for volume in mine if volume["id"] not in no_room]
                together = _snapshotted_together(mine, selected.groups)
            if not mine:
                continue
            allowed = parallel_by_quota(cinder, left, _sizes(together), parallel)
        except CloudError as error:
            if not as_tenant:
                raise
            troubles |= {volume["id"]: error for volume in mine}
            continue
        # A project with few volumes does not slow down the others.
        if allowed < min(parallel, len(mine)):
            LOG.warning(
                "%s in parallel instead of %s: the quota of project %s allows no more.",
                *(counted(allowed, "volume"), parallel, owner or cloud.cinder.project_id),
            )
            parallel = allowed
    return QuotaLimits(parallel, quotas, troubles)


def quota_use(
    cloud: Cloud, selected: Selected, allowed: QuotaLimits, *, as_tenant: bool
) -> tuple[QuotaUse, ...]:
    """What the backup takes of the quota of each project while it runs, at most."""
    found = []
    for owner, mine in _by_owner(selected, as_tenant=as_tenant):
        together = _sizes(_snapshotted_together(mine, selected.groups))
        use = temporary_use(together, allowed.parallel)
        project_id = str(cloud.in_project(owner).project_id)
        found.append(QuotaUse(project_id, *use, allowed.left[owner]))
    return tuple(found)


def _by_owner(selected: Selected, *, as_tenant: bool) -> list[tuple[str, list[Volume]]]:
    """The volumes by the project that owns their temporary resources; empty for the login's."""
    found: dict[str, list[Volume]] = {}
    for volume in selected.volumes:
        found.setdefault(project_of(volume) if as_tenant else "", []).append(volume)
    return sorted(found.items())


def _snapshotted_together(
    volumes: Sequence[Volume], groups: Mapping[str, Sequence[str]]
) -> list[list[Volume]]:
    """The volumes by the snapshot that they share: one volume alone unless it is in a group."""
    group_of = {key: group for group, members in groups.items() for key in members}
    found: dict[str, list[Volume]] = {}
    for volume in volumes:
        found.setdefault(group_of.get(volume["id"]) or str(volume["id"]), []).append(volume)
    return list(found.values())


def _sizes(together: Sequence[Sequence[Volume]]) -> list[list[VolumeSize]]:
    return [[VolumeSize.of(volume) for volume in group] for group in together]
