"""What a restore takes of the quotas, and how many volumes it can restore in parallel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from volflow.cloud.cinder import Cinder
from volflow.cloud.connection import Cloud
from volflow.cloud.quotas import Quota
from volflow.errors import QuotaError, VolflowError
from volflow.plans.quota import QuotaUse, VolumeSize, by_type, check_new_volumes, type_suffix
from volflow.plans.restore_target import Destination, RestoreTarget
from volflow.results.options import RestoreOptions


def within_quotas(
    cloud: Cloud, targets: Sequence[RestoreTarget], options: RestoreOptions
) -> tuple[list[RestoreTarget], dict[str, VolflowError]]:
    """Check what the restore creates in each project against its quota.

    :returns: the targets that fit, and why each other backup cannot be restored, by its id
    """
    found: list[RestoreTarget] = []
    over_quota: dict[str, VolflowError] = {}
    for project_id, mine in _by_target_project(targets, options).items():
        created = [t.created_size(options) for t in mine if t.destination is Destination.NEW]
        cinder = cloud.in_project(project_id)
        try:
            if created:
                check_new_volumes(cinder, created)
            _use_in_project(cinder, mine, options, 1)
        except QuotaError as error:
            over_quota |= {target.backup.id: error for target in mine}
        else:
            found += mine
    return found, over_quota


def quota_use(
    cloud: Cloud, targets: Sequence[RestoreTarget], options: RestoreOptions, parallel: int
) -> tuple[int, list[QuotaUse]]:
    """How many volumes can be restored in parallel, and what that takes of each project's quota.

    :param parallel: at most this many
    :raises QuotaError: a quota does not allow even one
    """
    uses = []
    for project_id, mine in _by_target_project(targets, options).items():
        parallel, use = _use_in_project(cloud.in_project(project_id), mine, options, parallel)
        uses.append(use)
    return parallel, uses


def _by_target_project(
    targets: Sequence[RestoreTarget], options: RestoreOptions
) -> dict[str | None, list[RestoreTarget]]:
    found: dict[str | None, list[RestoreTarget]] = defaultdict(list)
    for target in targets:
        found[options.target_project(target.project_id)].append(target)
    return found


def _use_in_project(
    cinder: Cinder, targets: Sequence[RestoreTarget], options: RestoreOptions, parallel: int
) -> tuple[int, QuotaUse]:
    return use_of_restore(
        cinder,
        [t.created_size(options) for t in targets if t.destination is not Destination.IN_PLACE],
        [
            VolumeSize.of(t.existing)
            for t in targets
            if t.existing and t.destination is not Destination.NEW
        ],
        parallel,
    )


def use_of_restore(
    cinder: Cinder, created: Sequence[VolumeSize], snapshots: Sequence[VolumeSize], parallel: int
) -> tuple[int, QuotaUse]:
    """How many volumes of a project can be restored in parallel, and what that takes.

    :param created: the volumes to create, which stay
    :param snapshots: the volumes of which a temporary snapshot is taken
    :param parallel: at most this many
    :raises QuotaError: the quota does not allow even one
    """
    left, project_id = cinder.quotas.left(), str(cinder.project_id)
    for count in range(parallel, 0, -1):
        uses = list(_uses(project_id, left, created, snapshots, count))
        if all(use.fits for _, use in uses):
            return count, uses[0][1]
    whose, short = next((whose, use) for whose, use in uses if not use.fits)
    raise QuotaError(
        f"The quota of project {project_id}{whose} cannot hold what the restore needs: {short}. "
        "Request more quota, or free some."
    )


def _uses(
    project_id: str,
    left: Quota,
    created: Sequence[VolumeSize],
    snapshots: Sequence[VolumeSize],
    count: int,
) -> Iterator[tuple[str, QuotaUse]]:
    """What is taken of the project's quota, and then of the quota of each volume type."""
    for name, quota in by_type(left):
        made = [one.gib for one in created if name in (None, one.volume_type)]
        sizes = [one.gib for one in snapshots if name in (None, one.volume_type)]
        taken = sorted(sizes, reverse=True)[:count]
        total = sum(made) + sum(taken)
        yield type_suffix(name), QuotaUse(project_id, len(made), len(taken), total, quota)
