"""Which restored volumes are put into their group again, and whether that has to be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from volflow.cloud.connection import Cloud
from volflow.cloud.groups import Groups, own_project
from volflow.errors import ResourceNotFoundError
from volflow.plans.restore import Destination, Joining, RestoreTarget
from volflow.results.options import RestoreOptions


def assign_groups(
    cloud: Cloud, targets: Sequence[RestoreTarget], options: RestoreOptions, *, whole: bool
) -> list[RestoreTarget]:
    """Decide for each volume that was in a group whether it is to be in one again.

    A volume that is made anew because it is gone takes its old place: in the group if that is
    there, else in one like it. A volume that is made beside the old one does not: the old one has
    the place. A volume that is there is put back where that is asked for.

    :param whole: groups were asked for. What is then made beside their volumes is a group too.
    """
    together: dict[tuple[str | None, str], list[RestoreTarget]] = {}
    for target in targets:
        if target.manifest.group:
            key = (options.target_project(target.project_id), str(target.manifest.group["id"]))
            together.setdefault(key, []).append(target)
    joining: dict[str, Joining] = {}
    for (project_id, group_id), members in together.items():
        there = _is_there(cloud, project_id, group_id)
        for target in members:
            joins = _joining(target, options, there=there, whole=whole)
            if joins:
                joining[target.key] = joins
    return [replace(target, joins=joining.get(target.key)) for target in targets]


def notes(targets: Sequence[RestoreTarget]) -> list[str]:
    """What is to be known of groups: that the backups of the volumes of one are of several runs,
    and so of several moments.
    """
    together: dict[tuple[str | None, str], list[RestoreTarget]] = {}
    for target in targets:
        if target.manifest.group:
            key = (target.project_id, str(target.manifest.group["id"]))
            together.setdefault(key, []).append(target)
    found = []
    for (_, group_id), members in together.items():
        if len({target.backup.tags.get("run") for target in members}) > 1:
            each = ", ".join(
                f"{target.manifest.volume['name'] or target.manifest.volume_id} of run "
                f"{target.backup.tags.get('run', '')[:8]}, {target.manifest.snapshot['created_at']}"
                for target in members
            )
            found.append(f"group {group_id}: its volumes are not of one moment: {each}")
    return found


def _is_there(cloud: Cloud, project_id: str | None, group_id: str) -> bool:
    cinder = cloud.in_project(project_id)
    try:
        group = Groups(cinder).get(group_id)
    except ResourceNotFoundError:
        return False
    # The id is from a backup, and an administrator sees the groups of others.
    return own_project(group, cinder.project_id)


def _joining(
    target: RestoreTarget, options: RestoreOptions, *, there: bool, whole: bool
) -> Joining | None:
    beside = whole and options.new
    if target.destination is Destination.IN_PLACE:
        assert target.existing is not None
        asked = whole or options.meta_override is not None
        if not asked or target.existing.get("group_id") or options.into:
            return None
    elif target.existing is not None and not beside:
        return None
    return Joining.EXISTING if there and not beside else Joining.ANEW
