"""Builds the flows of a run from its stored request."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from persistence import Item, Run
from volflow.errors import VolflowError
from volflow.flows.backup import backup_flow, member_backup_flow
from volflow.flows.graph import FlowGraph
from volflow.flows.restore import restore_flow
from volflow.plans.restore_target import Joining, RestoreTarget
from volflow.repositories.backups import Backups
from volflow.results.options import RestoreOptions
from volflow.results.request import BackupRequest, RestoreRequest
from volflow.runs.volume_result import ABORTED
from volflow.runs.work import RunWork
from volflow.stop import StopMode
from volflow.tasks.base import Step
from volflow.tasks.group import GroupSnapshot, GroupWanted, RestoredGroup
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)


class FlowBuilder:
    """Builds the flows of one run.

    :param backups: reads the manifests of the backups to restore
    """

    def __init__(self, run: Run, work: RunWork, backups: Backups) -> None:
        self._run = run
        self._work = work
        self._request = work.request
        self._backups = backups

    def graph(self, items: Iterable[Item]) -> FlowGraph:
        """The flows of the volumes that have not ended.

        :raises CloudError: the login is to another cloud, or has no role in one of the projects
        """
        shared = [
            (self._shared(key, members), members) for key, members in self._request.groups.items()
        ]
        group_of = {member: group for group, members in shared for member in members}
        factories = {
            item.key: partial(self._flow, self._work.of(item.key), group_of.get(item.key))
            for item in items
            # The volumes of a group run as one flow, so they stay together.
            if not item.state.final or item.key in group_of
        }
        aborted = self._run.stop == StopMode.ABORT
        return FlowGraph(factories, shared, undo=ABORTED if aborted else None)

    def _shared(self, key: str, members: Sequence[str]) -> GroupSnapshot | RestoredGroup:
        """The step that the volumes of a group share."""
        work = self._work.of(key)
        if isinstance(self._request, BackupRequest):
            return GroupSnapshot(work)
        options, manifests = self._request.options, []
        for member in members if self._run.stop != StopMode.ABORT else ():
            try:
                manifest = self._target(self._request, member).manifest
                manifests.append(manifest.mapped(options.type_map, options.az_map))
            except VolflowError as error:
                # The volume fails when its own flow is built.
                LOG.info("Group %s is planned without volume %s: %s", key, member, error)
        # Without any manifest, the group can only be undone.
        wanted = GroupWanted.of(manifests) if manifests else GroupWanted({}, "", (), None)
        joins = self._request.targets[members[0]].joins
        return RestoredGroup(work, wanted, anew=joins == Joining.ANEW)

    def _flow(
        self,
        work: Work,
        group: GroupSnapshot | RestoredGroup | None,
        *,
        undo: bool = False,
    ) -> Any:
        """The flow of one volume.

        :param undo: the flow is only reverted, for which the ledger is enough
        """
        if isinstance(group, GroupSnapshot):
            return member_backup_flow(work, group)
        if isinstance(self._request, BackupRequest):
            return backup_flow(work)
        target = self._target(self._request, work.volume_id, undo=undo)
        return restore_flow(work, target, self._request.options, group)

    def _target(
        self, request: RestoreRequest, volume_id: str, *, undo: bool = False
    ) -> RestoreTarget:
        known = None if undo else self._backups
        return RestoreTarget.from_dict(request.targets[volume_id].to_dict(), known)


def backup_steps(work: Work, *, in_group: bool) -> list[str]:
    """The names of the steps of one volume's backup, in order.

    :param in_group: the volume shares a group snapshot with others
    """
    group = GroupSnapshot(work)
    flow = member_backup_flow(work, group) if in_group else backup_flow(work)
    return _step_names([*([group] if in_group else []), *flow])


def restore_steps(
    work: Work, targets: Iterable[RestoreTarget], options: RestoreOptions
) -> dict[str, list[str]]:
    """The names of the steps of one volume's restore, in order, by where its data goes."""
    found: dict[str, list[str]] = {}
    for target in targets:
        group, where = None, str(target.destination)
        if target.joins:
            wanted = GroupWanted.of([target.manifest])
            group = RestoredGroup(work, wanted, anew=target.joins is Joining.ANEW)
            where += ", in a group"
        if where not in found:
            flow = restore_flow(work, target, options, group)
            found[where] = _step_names([*([group] if group else []), *flow])
    return found


def _step_names(flow: Iterable[Any]) -> list[str]:
    return [step.name.partition(":")[2] for step in flow if isinstance(step, Step)]
