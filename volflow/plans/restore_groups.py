"""Which restored volumes join a group, and whether volflow creates that group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from volflow import times
from volflow.cloud.connection import Cloud
from volflow.cloud.groups import own_project
from volflow.errors import ResourceNotFoundError
from volflow.plans.restore_target import Destination, Joining, RestoreTarget
from volflow.results.options import RestoreOptions


def assign_groups(
    cloud: Cloud,
    targets: Sequence[RestoreTarget],
    options: RestoreOptions,
    *,
    groups_selected: bool,
) -> list[RestoreTarget]:
    """Decide for each volume that was in a group which group it joins.

    A new volume for one that does not exist joins the old group if that exists, else a new group
    like it. A new volume beside the old one joins none, because the old one is in the group. An
    existing volume joins its old group again on request (``--group`` or ``--meta-override``).

    :param groups_selected: groups were selected. With ``--new`` their new volumes form a new
        group.
    """
    together: dict[tuple[str | None, str], list[RestoreTarget]] = {}
    for target in targets:
        if target.manifest.group:
            key = (options.target_project(target.project_id), str(target.manifest.group["id"]))
            together.setdefault(key, []).append(target)
    joining: dict[str, Joining] = {}
    for (project_id, group_id), members in together.items():
        exists = _exists(cloud, project_id, group_id)
        for target in members:
            joins = _joining(target, options, exists=exists, groups_selected=groups_selected)
            if joins:
                joining[target.key] = joins
    return [replace(target, joins=joining.get(target.key)) for target in targets]


def notes_on_groups(targets: Sequence[RestoreTarget]) -> list[str]:
    """One note for each group whose volumes come from backups of several runs, and so from
    different times.
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
                f"{target.manifest.volume['name'] or target.manifest.volume_id} from run "
                f"{target.backup.tags.get('run', '')[:8]}, {times.local(target.backup.taken_at)}"
                for target in members
            )
            found.append(
                f"group {group_id}: the backups of its volumes are from different times: {each}"
            )
    return found


def _exists(cloud: Cloud, project_id: str | None, group_id: str) -> bool:
    cinder = cloud.in_project(project_id)
    try:
        group = cinder.groups.get(group_id)
    except ResourceNotFoundError:
        return False
    # The id is from a backup, and an administrator sees the groups of all projects.
    return own_project(group, cinder.project_id)


def _joining(
    target: RestoreTarget, options: RestoreOptions, *, exists: bool, groups_selected: bool
) -> Joining | None:
    new_group = groups_selected and options.new
    if target.destination is Destination.IN_PLACE:
        assert target.existing is not None
        requested = groups_selected or options.meta_override is not None
        if not requested or target.existing.get("group_id") or options.into:
            return None
    elif target.existing is not None and not new_group:
        return None
    return Joining.EXISTING if exists and not new_group else Joining.ANEW
