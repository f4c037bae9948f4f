"""From what is stored of a run to its flows, and these to their end."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from persistence import Run
from volflow.cloud.cinder import Cinder
from volflow.cloud.login import Login
from volflow.context import Context
from volflow.errors import CloudError, VolflowError
from volflow.flows.backup import backup_flow, member_backup_flow
from volflow.flows.graph import FlowGraph
from volflow.flows.restore import restore_flow
from volflow.movers.base import StoredBackup
from volflow.observers.all import observers
from volflow.plans.restore_target import Joining, RestoreTarget
from volflow.repositories.backups import latest
from volflow.results.options import RestoreOptions
from volflow.results.outcome import RunResult
from volflow.runs import leftovers
from volflow.runs.leftovers import Leftover
from volflow.runs.remove_old import remove_replaced
from volflow.runs.runner import Runner
from volflow.stop import StopMode
from volflow.tasks.base import Step
from volflow.tasks.concurrency import Slots
from volflow.tasks.group import GroupSnapshot, GroupWanted, RestoredGroup
from volflow.tasks.work import Services, Work

LOG = logging.getLogger(__name__)


class FlowBuilder:
    """Makes the flows of runs, and has them run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def drive(self, run: Run, stored: Sequence[StoredBackup]) -> RunResult:
        """Start a run, or go on with it.

        :param stored: the backups that there are: a volume's last one is its next one's parent
        :raises DrivenError: another process drives this run
        :raises SuspendedError: it was asked to stop, and can be resumed
        """
        projects = run.request["projects"]
        # What is in another project's repository is no parent.
        parents = {
            backup.tags["volume"]: backup.id
            for backup in latest(stored)
            if backup.tags.get("project", "") == projects.get(backup.tags["volume"])
        }
        services = self.services(run, {} if run.request.get("full") else parents)
        shared: list[tuple[GroupSnapshot | RestoredGroup, list[str]]] = [
            (self._group(run, self.work(services, run, key), members), members)
            for key, members in run.request.get("groups", {}).items()
        ]
        group_of = {member: group for group, members in shared for member in members}
        ways = {
            item.key: partial(
                self._flow, run, self.work(services, run, item.key), group_of.get(item.key)
            )
            for item in self._context.state.runs.items(run.id)
            # The volumes of a group run as one flow, so they stay together.
            if not item.state.final or item.key in group_of
        }

        def cinder_of(key: str) -> Cinder:
            return self.work(services, run, key).cinder

        def finish(result: RunResult) -> RunResult:
            if not run.request.get("options", {}).get("remove_old_vol"):
                return result
            return remove_replaced(
                self._context.state.runs,
                cinder_of,
                run,
                result,
                aborting=self._context.stop.aborting,
            )

        runner = Runner(
            self._context.state,
            services,
            run.request["parallel"],
            self._context.stop,
            cinder_of=cinder_of,
            finish=finish,
        )
        if self._context.state.runs.get(run.id).stop == StopMode.ABORT:
            self._context.stop.abort_run()
        undo = "The run was aborted." if run.stop == StopMode.ABORT else None
        try:
            return runner.drive(run, FlowGraph(ways, shared, undo=undo))
        finally:
            self._context.stop.next_run()

    def backup_steps(self, *, in_group: bool) -> list[str]:
        """The names of the steps of one volume, in their order.

        :param in_group: it shares a snapshot with others
        """
        work = self._home_work(self.services(None), "")
        group = GroupSnapshot(work)
        flow = member_backup_flow(work, group) if in_group else backup_flow(work)
        shared = [group] if in_group else []
        return _step_names([*shared, *flow])

    def restore_steps(
        self, targets: Sequence[RestoreTarget], options: RestoreOptions
    ) -> dict[str, list[str]]:
        """The names of the steps of one volume, in their order, by where its data goes."""
        work = self._home_work(self.services(None), "")
        found: dict[str, list[str]] = {}
        for target in targets:
            group, where = None, str(target.destination)
            if target.joins:
                wanted = GroupWanted.of([target.manifest])
                group = RestoredGroup(work, wanted, anew=target.joins is Joining.ANEW)
                where += ", in a group"
            if where not in found:
                flow = restore_flow(work, target, options, group)
                shared = [group] if group else []
                found[where] = _step_names([*shared, *flow])
        return found

    def leftovers(self, *, lost: bool = False) -> list[Leftover]:
        """The temporary things that runs have left.

        :param lost: those of runs that this state database does not know, too
        """
        found = leftovers.known(self._context.state)
        return (
            found + leftovers.lost(self._context.state, self._context.cloud.cinder)
            if lost
            else found
        )

    def clean_leftovers(
        self, *, lost: bool, older_than: timedelta
    ) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, and tell of each what is still in the way, if anything.

        :param lost: those of runs that this state database does not know, too
        :param older_than: how long such a run must have given no sign of life
        """
        for leftover in leftovers.known(self._context.state):
            run = self._context.state.runs.get(leftover.run_id)
            try:
                work = self.work(self.services(run), run, leftover.volume_id)
            except CloudError as error:
                # Its project cannot be acted in; the others' can.
                yield leftover, str(error)
            else:
                yield leftover, leftovers.clean(work, leftover)
        if lost:
            services = self.services(None)
            for leftover in leftovers.lost(self._context.state, self._context.cloud.cinder):
                work = self._home_work(services, leftover.volume_id)
                yield leftover, leftovers.clean_lost(work, leftover, older_than=older_than)

    def services(self, run: Run | None, parents: dict[str, str] | None = None) -> Services:
        """What the tasks of a run work with; of no run where none is given."""
        context = self._context
        return Services(
            run_id=run.id if run else "",
            host=context.host,
            ledger=context.state.ledger,
            catalogue=context.state.catalogue,
            progress=observers(context.conf, context.state, context.observer),
            slots=Slots(run.request["parallel"] if run else 1, self._context.stop.event),
            parents=parents or {},
            whole=run.request.get("whole", {}) if run else {},
            stopping=self._context.stop.event,
        )

    def work(self, services: Services, run: Run, key: str) -> Work:
        """A volume's or a group's part in a run: in whose project, and in which repository."""
        projects = run.request["projects"]
        members = run.request.get("groups", {}).get(key)
        project_id = projects.get(members[0] if members else key)
        acting = None
        if run.request["act_in"] == "tenant":
            others = run.request.get("options", {}).get("project_map", {})
            acting = others.get(project_id, project_id)
        home = Login.from_dict(run.request.get("login", {}))
        if home.is_elsewhere(self._context.cloud.login):
            raise CloudError(
                f"Run {run.id} works in the cloud {home.cloud}, and this login is to "
                f"{self._context.cloud.login.cloud}: what the run has made is not there. Log in to "
                "the run's own cloud."
            )
        cinder = self._context.cloud.in_project(acting or home.project_id)
        return self._work(services, key, cinder, project_id or home.project_id)

    def _home_work(self, services: Services, key: str) -> Work:
        """The same in the project of the login."""
        return self._work(services, key, self._context.cloud.cinder, None)

    def _work(self, services: Services, key: str, cinder: Cinder, project_id: str | None) -> Work:
        repositories = self._context.repositories
        repository, mover = repositories.of(project_id), repositories.mover(project_id)
        return Work(services, key, cinder, repository, mover)

    def check_reach(self, run: Run) -> None:
        """Make sure that this login reaches all that a run has made.

        :raises CloudError: it is to another cloud, or has no role in one of the projects
        """
        services = self.services(run)
        for item in self._context.state.runs.items(run.id):
            self.work(services, run, item.key)

    def _group(self, run: Run, work: Work, members: list[str]) -> GroupSnapshot | RestoredGroup:
        """What the volumes of a group share."""
        if run.kind == "backup":
            return GroupSnapshot(work)
        options = RestoreOptions(**run.request["options"])
        manifests = []
        for member in members if run.stop != StopMode.ABORT else ():
            try:
                manifest = self._target(run, member).manifest
                manifests.append(manifest.mapped(options.type_map, options.az_map))
            except VolflowError as error:
                # It fails that volume, and is its error, when it is its turn.
                LOG.info("Group %s is planned without %s: %s", work.volume_id, member, error)
        # Without any of them the group is only to be undone.
        wanted = GroupWanted.of(manifests) if manifests else GroupWanted({}, "", (), None)
        joins = run.request["targets"][members[0]]["joins"]
        return RestoredGroup(work, wanted, anew=joins == Joining.ANEW)

    def _flow(
        self,
        run: Run,
        work: Work,
        group: GroupSnapshot | RestoredGroup | None,
        *,
        undo: bool = False,
    ) -> Any:
        if isinstance(group, GroupSnapshot):
            return member_backup_flow(work, group)
        if run.kind == "backup":
            return backup_flow(work)
        options = RestoreOptions(**run.request["options"])
        return restore_flow(work, self._target(run, work.volume_id, undo=undo), options, group)

    def _target(self, run: Run, volume_id: str, *, undo: bool = False) -> RestoreTarget:
        archive = None if undo else self._context.backups
        return RestoreTarget.from_dict(run.request["targets"][volume_id], archive)


def _step_names(flow: Iterable[Any]) -> list[str]:
    return [step.name.partition(":")[2] for step in flow if isinstance(step, Step)]
