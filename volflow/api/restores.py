"""Restores: plan and run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from volflow.context import Context
from volflow.movers.base import StoredBackup
from volflow.observers.hooks import refusals
from volflow.plans.restore import RestorePlan, RestorePlanner
from volflow.plans.restore_source import notes_on_backups
from volflow.plans.selection import Selection
from volflow.results.options import RestoreOptions
from volflow.results.outcome import RunResult
from volflow.results.request import RequestedTarget, RestoreRequest
from volflow.runs.prepare import load_libraries, prepare
from volflow.runs.request import create_run


class RestoreApi:
    """Operations on restores: ``volflow.restores``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self,
        selection: Selection | Sequence[str],
        options: RestoreOptions | None = None,
        *,
        at: datetime | None = None,
        parallel: int | None = None,
        confirm: Callable[[RestorePlan], None] | None = None,
    ) -> RunResult:
        """Restore volumes: plan the restore and run it. Existing volumes are overwritten.

        :param selection: what to restore, as for :meth:`plan`
        :param options: how to restore
        :param at: restore the volumes as of this time
        :param parallel: maximum number of volumes in parallel; ``[backup] parallel`` by default
        :param confirm: receives the plan before anything is created; raises an error to stop
        :returns: the outcome of each volume and of the run; later failures are in it
        :raises VolflowError: the restore cannot start; nothing was created
        :raises SuspendedError: the run was suspended; it can be resumed
        """
        with refusals(self._context.conf.hooks, "restore"):
            plan = self.plan(selection, options, at=at, parallel=parallel)
        if confirm is not None:
            confirm(plan)
        return self.run(plan)

    def plan(
        self,
        selection: Selection | Sequence[str],
        options: RestoreOptions | None = None,
        *,
        at: datetime | None = None,
        parallel: int | None = None,
    ) -> RestorePlan:
        """Decide where each backup goes: into its volume if that exists, else to a new volume.

        Creates nothing.

        :param selection: what to restore; or a list of ids of backups or their beginnings, or of
            ids or names of volumes for their last backup
        :param options: how to restore
        :param at: restore the volumes as of this time
        :param parallel: maximum number of volumes in parallel; ``[backup] parallel`` by default
        :raises VolflowError: the restore would fail: a backup does not exist, or a volume is
            attached, busy or too small
        """
        selection = Selection.of(selection)
        context = self._context
        planner = RestorePlanner(
            context.cloud, context.repositories, context.backups, context.rehearsal
        )
        return planner.plan(
            selection,
            options or RestoreOptions(),
            prepare(context),
            parallel or context.conf.backup.parallel,
            at=at,
        )

    def notes_on_backups(
        self, stored: Sequence[StoredBackup], chosen: Sequence[StoredBackup]
    ) -> list[str]:
        """Return what a person should know about backups: unfinished ones, and of the future.

        :param stored: all backups. The result names those of the future of each restored volume,
            also if they are not chosen
        """
        return notes_on_backups(stored, chosen)

    def run(self, plan: RestorePlan) -> RunResult:
        """Run a planned restore. Existing volumes are overwritten.

        :param plan: what :meth:`plan` returned
        :returns: the outcome of each volume and of the run; later failures are in it
        :raises VolflowError: the restore cannot start; nothing was created
        :raises SuspendedError: the run was suspended; it can be resumed
        """
        context, targets = self._context, plan.targets
        request = RestoreRequest(
            groups=plan.groups,
            left_out=tuple(plan.left_out),
            notes=tuple(plan.notes),
            parallel=plan.parallel,
            options=plan.options,
            backups={t.key: t.backup.id for t in targets},
            targets={t.key: RequestedTarget.from_dict(t.to_dict()) for t in targets},
            projects={t.key: t.project_id for t in targets},
            # A restored volume belongs to the project that it came from.
            act_in="tenant",
            repository=context.repositories.location,
            # Under another login, what the run creates would seem not to exist.
            login=context.cloud.login.to_dict(),
        )
        volumes = [(t.key, str(t.manifest.volume["name"] or "")) for t in targets]
        with context.stop.driving():
            run = create_run(context.state, request, volumes, keep_days=context.conf.keep_runs)
            load_libraries()
            from volflow.runs.drive import drive

            return drive(context, run)

    def steps(self, plan: RestorePlan) -> dict[str, list[str]]:
        """List the steps of the restore of one volume, in order, by where its data goes.

        :param plan: what :meth:`plan` returned
        """
        load_libraries()
        from volflow.runs.build import restore_steps
        from volflow.runs.work import WorkFactory

        work = WorkFactory(self._context).without_run()
        return restore_steps(work, plan.targets, plan.options)
