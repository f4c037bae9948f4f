"""Backups: making them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from volflow.context import Context
from volflow.plans.backup import BackupPlan, BackupPlanner
from volflow.plans.selection import Selection, project_of
from volflow.repositories.opened import free_bytes
from volflow.results.outcome import RunResult
from volflow.runs.prepare import flow_builder, prepare
from volflow.runs.request import create_run


class BackupApi:
    """What can be done with backups."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def plan(self, selection: Selection, *, parallel: int | None = None) -> BackupPlan:
        """Find the volumes of a selection, and make sure that they can be backed up.

        :param parallel: how many volumes at a time at most; as configured unless given
        :raises VolflowError: what would fail later
        """
        selection.check()
        stored, context = prepare(self._context), self._context
        planner = BackupPlanner(
            context.cloud,
            context.repositories,
            context.host.connector,
            context.backups,
            as_tenant=context.conf.cloud.act_in == "tenant",
        )
        return planner.plan(selection, stored, parallel or context.conf.backup.parallel)

    def create(
        self,
        selection: Selection | Sequence[str],
        *,
        full: bool = False,
        parallel: int | None = None,
    ) -> RunResult:
        """Back up the volumes of a selection, or those of these ids or names.

        :param full: read every file again, instead of those that changed since the last backup
        :param parallel: how many volumes at a time; as configured unless given
        :raises VolflowError: before anything is made; what fails later is in the result
        """
        if not isinstance(selection, Selection):
            selection = Selection(volumes=tuple(selection))
        return self.run(self.plan(selection, parallel=parallel), full=full)

    def run(self, plan: BackupPlan, *, full: bool = False) -> RunResult:
        """Back up as planned."""
        selected = plan.selected
        run = create_run(
            self._context,
            "backup",
            {
                "full": full,
                "parallel": plan.parallel,
                "groups": selected.groups,
                "consistent": plan.consistent,
                "whole": plan.volumes_in_project,
                "left_out": [asdict(one) for one in selected.left_out],
                "projects": {volume["id"]: project_of(volume) for volume in selected.volumes},
                # Whose the temporary things are, and whose quota they take.
                "act_in": self._context.conf.cloud.act_in,
            },
            [(volume["id"], volume["name"] or "") for volume in selected.volumes],
        )
        return flow_builder(self._context).drive(run, plan.stored)

    def steps(self, *, in_group: bool) -> list[str]:
        """The names of the steps of one volume, in their order.

        :param in_group: it shares a snapshot with others
        """
        return flow_builder(self._context).backup_steps(in_group=in_group)

    def free_bytes(self, projects: Iterable[str]) -> dict[str, int]:
        """The free bytes where the repositories of projects are, by their name; of this host's."""
        repositories = [self._context.repositories.of(one) for one in projects]
        found = {one.location: free_bytes(one.local_path) for one in repositories}
        return {name: free for name, free in found.items() if free is not None}
