"""volflow as a whole: what the command line, Freezer, Mistral and other programs call."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from oslo_config import cfg

from persistence import Run, RunState
from volflow.context import Context
from volflow.errors import UsageError, VolflowError
from volflow.host import eventlet
from volflow.host.identity import boot_id, host_name
from volflow.movers.base import REGION, StoredBackup
from volflow.movers.restic.browse import Browser
from volflow.observers.progress import NullObserver, Observer
from volflow.plans.backup import BackupPlan, plan_backup
from volflow.plans.quota import QuotaUse, free_bytes
from volflow.plans.restore import (
    RestoreOptions,
    RestorePlan,
    RestoreTarget,
    plan_restore,
    restore_needs,
)
from volflow.plans.restore_groups import assign_groups, notes
from volflow.plans.restore_source import choose
from volflow.plans.selection import Selection, project_of
from volflow.repositories.backups import Backups
from volflow.repositories.export import Exporter
from volflow.results.outcome import LeftOut, RunResult
from volflow.runs import lease as heartbeat
from volflow.stop import Stop, StopMode

if TYPE_CHECKING:
    from volflow.runs.build import FlowBuilder
    from volflow.runs.leftovers import Leftover

LOG = logging.getLogger(__name__)

# So many old runs are forgotten when a run begins: more than one, so that they become fewer.
_FORGET = 10
_OPEN = (RunState.RUNNING, RunState.SUSPENDED)


class Volflow:
    """Backs up and restores volumes of one cloud into and from its repositories.

    Nothing is connected to before it is needed. Use it as a context manager, or close it.

    :param conf: the configuration, by :func:`volflow.config.load`
    :param cloud_arguments: parsed ``--os-*`` options
    :param progress: who is told how far a run is
    :ivar parts: the cloud, the repositories, the state database and this host
    :ivar archive: the backups that there are
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        cloud_arguments: argparse.Namespace | None = None,
        progress: Observer | None = None,
    ) -> None:
        self.conf = conf
        self.context = Context(conf, cloud_arguments)
        self.archive = Backups(self.context)
        self._progress = progress or NullObserver()

    @property
    def stop(self) -> Stop:
        """How to suspend or abort what runs, from any thread."""
        return self.context.stop

    # Backup

    def plan_backup(self, selection: Selection, *, parallel: int | None = None) -> BackupPlan:
        """Find the volumes of a selection, and make sure that they can be backed up.

        :param parallel: how many volumes at a time at most; as configured unless given
        :raises VolflowError: what would fail later
        """
        selection.check()
        stored = self._prepare()
        most = parallel or self.conf.backup.parallel
        return plan_backup(self.context, self.archive, selection, stored, most)

    def backup(
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
        return self.run_backup(self.plan_backup(selection, parallel=parallel), full=full)

    def run_backup(self, plan: BackupPlan, *, full: bool = False) -> RunResult:
        """Back up as planned."""
        selected = plan.selected
        run = self._create_run(
            "backup",
            {
                "full": full,
                "parallel": plan.parallel,
                "groups": selected.groups,
                "consistent": plan.consistent,
                "whole": plan.whole,
                "left_out": [asdict(one) for one in selected.left_out],
                "projects": {volume["id"]: project_of(volume) for volume in selected.volumes},
                # Whose the temporary things are, and whose quota they take.
                "act_in": self.conf.cloud.act_in,
            },
            [(volume["id"], volume["name"] or "") for volume in selected.volumes],
        )
        return self._conductor.drive(run, plan.stored)

    def backup_steps(self, *, in_group: bool) -> list[str]:
        """The names of the steps of one volume, in their order.

        :param in_group: it shares a snapshot with others
        """
        return self._conductor.backup_steps(in_group=in_group)

    def rooms(self, projects: Iterable[str]) -> dict[str, int]:
        """The free bytes where the repositories of projects are, by their name; of this host's."""
        movers = {(mover := self.context.mover(one)).location: mover for one in projects}
        found = {name: free_bytes(mover.local_path) for name, mover in movers.items()}
        return {name: free for name, free in found.items() if free is not None}

    # Restore

    def plan_restore(
        self,
        selection: Selection | Sequence[str],
        options: RestoreOptions | None = None,
        *,
        at: datetime | None = None,
    ) -> RestorePlan:
        """Decide where each backup goes: back into its volume if that is there, else to a new one.

        :param selection: what to restore; or ids or prefixes of backups, or ids or names of
            volumes, of which it is the last backup
        :param at: as it was at this moment
        :raises VolflowError: a backup or volume is not there, attached, busy or too small
        """
        if not isinstance(selection, Selection):
            selection = Selection(volumes=tuple(selection))
        selection.check()
        stored, context = self._prepare(), self.context
        options, whole = options or RestoreOptions(), not selection.volumes
        projects = options.sources(context.cinder.project_id)
        troubles: dict[str, VolflowError] = {}
        if selection.all_tenants:
            context.cinder.require_all_tenants()
        if stored is None and selection.all_tenants:
            stored, troubles = self.archive.look_everywhere(options.project_map)
        elif stored is None:
            stored, troubles = self.archive.look(projects)
        if troubles and not (whole and stored):
            raise type(next(iter(troubles.values())))("\n".join(map(str, troubles.values())))
        chosen = choose(self.archive, stored, selection, projects=projects, at=at)
        plan = plan_restore(context, self.archive, chosen.backups, options, whole=whole)
        targets = assign_groups(context, plan, options, whole=bool(selection.groups))
        return RestorePlan(
            targets,
            [
                *(LeftOut("", f"project {one}", str(troubles[one]), True) for one in troubles),
                *chosen.left_out,
                *plan.left_out,
            ],
            notes(targets),
        )

    def restore(
        self,
        targets: Sequence[RestoreTarget],
        options: RestoreOptions | None = None,
        *,
        parallel: int | None = None,
    ) -> RunResult:
        """Restore as planned. Volumes that are there are overwritten.

        :param options: those with which it was planned
        :raises VolflowError: before anything is made; what fails later is in the result
        """
        groups: dict[str, list[str]] = {}
        for target in targets:
            if target.group_key:
                groups.setdefault(target.group_key, []).append(target.key)
        run = self._create_run(
            "restore",
            {
                "groups": groups,
                "left_out": [asdict(one) for one in getattr(targets, "left_out", ())],
                "notes": list(getattr(targets, "notes", ())),
                "parallel": self.restore_needs(targets, options, parallel=parallel)[0],
                "options": (options or RestoreOptions()).to_dict(),
                "backups": {t.key: t.backup.id for t in targets},
                "targets": {t.key: t.to_dict() for t in targets},
                "projects": {t.key: t.project_id for t in targets},
                # A restored volume belongs to the tenant that it came from.
                "act_in": "tenant",
            },
            [(t.key, str(t.manifest.volume["name"] or "")) for t in targets],
        )
        return self._conductor.drive(run, [])

    def restore_needs(
        self,
        targets: Sequence[RestoreTarget],
        options: RestoreOptions | None = None,
        *,
        parallel: int | None = None,
    ) -> tuple[int, list[QuotaUse]]:
        """How many volumes at a time the quotas allow, and what a restore takes of them.

        :raises QuotaError: one does not allow even one
        """
        most = parallel or self.conf.backup.parallel
        return restore_needs(self.context, targets, options or RestoreOptions(), most)

    def restore_steps(
        self, targets: Sequence[RestoreTarget], options: RestoreOptions | None = None
    ) -> dict[str, list[str]]:
        """The names of the steps of one volume, in their order, by where its data goes."""
        return self._conductor.restore_steps(targets, options or RestoreOptions())

    def takeout(self, backup: StoredBackup) -> Exporter:
        """Take a backup out of the repository without a cloud."""
        context = self.context
        context.privilege.check()
        mover = context.mover(backup.tags.get("project"))
        return Exporter(
            backup,
            self.archive.manifest(backup),
            mover,
            Browser(mover, REGION),
            context.privilege,
            context.directory("mount"),
            self._progress,
            context.stop,
        )

    # Runs

    def resume(self, run_id: str) -> RunResult:
        """Go on with a run whose process is no more.

        :param run_id: its id or a prefix
        :raises UsageError: it has ended
        :raises CloudError: it works in another cloud, or in a project that cannot be acted in
        :raises DrivenError: a process drives it
        """
        run = self._unfinished(run_id)
        return self._take_over(run)

    def abort(self, run_id: str) -> RunResult | None:
        """Undo a run: one whose process is no more here and now, one that is driven by asking.

        :param run_id: its id or a prefix
        :returns: the result; None where another process was asked to undo it
        :raises UsageError: it has ended
        :raises CloudError: it works in another cloud, or in a project that cannot be acted in
        """
        run, state = self._unfinished(run_id), self.context.state
        if not heartbeat.is_driven(state.leases, run.id):
            # Else whoever resumes it would undo it, though nobody here can.
            self._conductor.check_reach(run)
        run = state.runs.update(run.id, stop=StopMode.ABORT)
        if heartbeat.is_driven(state.leases, run.id):
            return None
        return self._take_over(run)

    def unfinished(self) -> list[Run]:
        """The runs that have not ended and that no process drives, the oldest first."""
        state = self.context.state
        found = [run for one in _OPEN for run in state.runs.list(state=one)]
        return sorted(
            (run for run in found if not heartbeat.is_driven(state.leases, run.id)),
            key=lambda run: run.created_at,
        )

    # Leftovers

    def leftovers(self, *, lost: bool = False) -> list[Leftover]:
        """The temporary things that runs have left.

        :param lost: those of runs that this state database does not know, too
        """
        return self._conductor.leftovers(lost=lost)

    def clean_leftovers(
        self, *, lost: bool, older_than: timedelta
    ) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, and tell of each what is still in the way, if anything.

        :param lost: those of runs that this state database does not know, too
        :param older_than: how long such a run must have given no sign of life
        """
        return self._conductor.clean_leftovers(lost=lost, older_than=older_than)

    def close(self) -> None:
        """Close what has been opened."""
        self.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # How

    @cached_property
    def _conductor(self) -> FlowBuilder:
        # TaskFlow and os-brick take a while to import, and listings do not need them.
        eventlet.load()
        from volflow.runs.build import FlowBuilder

        return FlowBuilder(self.context, self.archive, self._progress)

    def _prepare(self) -> list[StoredBackup] | None:
        """Look at all that a run needs, side by side, and give the backups that there are.

        Where each project has a repository of its own, which ones are needed is not known yet.
        """
        context, checks = self.context, self._checks()
        if context.repository_per_project:
            # That of the login itself need not be one of them.
            for check in checks:
                check()
            return None
        context.mover().check()
        with ThreadPoolExecutor(len(checks) + 1, "check") as pool:
            backups = pool.submit(self.archive.backups)
            for job in [pool.submit(check) for check in checks]:
                job.result()
            return backups.result()

    def _checks(self) -> list[Callable[[], Any]]:
        """Look at what a run needs beside the repository."""
        context = self.context
        return [
            lambda: context.state,
            context.privilege.check,
            lambda: context.cinder,
            lambda: (self._conductor, context.connector),
        ]

    def _unfinished(self, run_id: str) -> Run:
        run = self.context.state.runs.get(run_id)
        if run.state.final:
            raise UsageError(f"Run {run.id} has ended already: it is {run.state.lower()}.")
        if run.request["repository"] != self.context.repository:
            raise UsageError(
                f"Run {run.id} works with the repository {run.request['repository']}, and the one "
                f"that is configured is {self.context.repository}."
            )
        return run

    def _take_over(self, run: Run) -> RunResult:
        if run.stop == StopMode.ABORT:
            # What is undone is in the ledger: the repository may be gone with what it held.
            for check in self._checks():
                check()
            return self._conductor.drive(run, [])
        stored = self._prepare()
        if stored is None:
            # A repository that cannot be used fails its own volumes, when it is their turn.
            stored, _ = self.archive.look(filter(None, run.request["projects"].values()))
        return self._conductor.drive(run, stored)

    def _create_run(self, kind: str, request: dict[str, Any], items: list[tuple[str, str]]) -> Run:
        before = datetime.now(UTC) - timedelta(days=self.conf.keep_runs)
        for run_id in self.context.state.retention.forget(before, most=_FORGET):
            LOG.info("Run %s ended long ago, and is forgotten", run_id)
        return self.context.state.runs.create(
            kind,
            request
            | {
                "repository": self.context.repository,
                # Under another login what the run makes would seem to be gone.
                "login": self.context.login.to_dict(),
            },
            items,
            host=host_name(),
            boot_id=boot_id(),
            pid=os.getpid(),
        )
