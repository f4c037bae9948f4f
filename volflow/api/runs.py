"""Runs: list, show, watch, resume and abort them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from persistence import Item, Run, RunState
from volflow.context import Context
from volflow.errors import SuspendedError, UsageError
from volflow.observers.progress import Observer
from volflow.results import stored
from volflow.results.holdings import Holdings
from volflow.results.outcome import RunResult
from volflow.results.request import BackupRequest, Request, complete_request, request_of
from volflow.runs import lease
from volflow.runs.prepare import checks, load_libraries, prepare
from volflow.stop import StopMode

LOG = logging.getLogger(__name__)

_OPEN = (RunState.RUNNING, RunState.SUSPENDED)


@dataclass(frozen=True)
class Resumed:
    """What came of resuming one of several runs.

    :ivar result: the result of the run; None if it could not be resumed
    :ivar error: why it could not be resumed; a :class:`~volflow.DrivenError` if another process
        already drives it
    """

    run: Run
    result: RunResult | None = None
    error: Exception | None = None


class RunApi:
    """Operations on runs: ``volflow.runs``.

    Where a method takes a run, pass its id or the beginning of it. An id that matches no run or
    several raises a :class:`~volflow.StateError`.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, *, limit: int = 50) -> Sequence[Run]:
        """List the runs, the newest first.

        :param limit: maximum number of runs
        """
        return self._context.state.runs.list(limit=limit)

    def get(self, run_id: str) -> Run:
        """Get a run."""
        return self._context.state.runs.get(run_id)

    def request(self, run: Run) -> Request:
        """Return what a run was asked to do.

        :returns: a :class:`~volflow.BackupRequest` or a :class:`~volflow.RestoreRequest`
        """
        return request_of(run)

    def volumes(self, run_id: str) -> Sequence[Item]:
        """List the volumes of a run, with the state of each."""
        return self._context.state.runs.items(self.get(run_id).id)

    def is_driven(self, run: Run) -> bool:
        """Return whether a process works on a run."""
        return not run.state.final and lease.is_driven(self._context.state.leases, run.id)

    def status(self, run: Run) -> str:
        """Return the state of a run as ``volflow run list`` shows it.

        :returns: ``running``, ``suspended``, ``complete``, ``partial``, ``failed``,
            ``aborted``, ``held`` if a person stopped the run and nobody has resumed it, or
            ``interrupted`` if it has not ended and no process drives it
        """
        return stored.state(run, driven=self.is_driven(run))

    def result(self, run_id: str) -> RunResult:
        """Return the result of a run that has ended.

        :raises UsageError: it has not ended
        """
        run = self.get(run_id)
        if not run.state.final:
            raise UsageError(f"Run {run.id} has not ended: it is {self.status(run)}.")
        return stored.run_result(run, self.volumes(run.id))

    def watch(
        self, run_id: str, observer: Observer, *, stopping: threading.Event | None = None
    ) -> Run:
        """Follow a run that another process drives, until it ends or no process drives it.

        :param observer: receives the progress
        :param stopping: ends the watching when set; the run continues
        :returns: the run as it is then
        """
        from volflow.runs.watch import Watch

        return Watch(self._context.state, observer).follow(run_id, stopping or threading.Event())

    def page(self, run_id: str) -> str:
        """Return a run as an HTML page: when each step ran, and its outcome."""
        from volflow.report.page import page

        run = self.get(run_id)
        return page(run, self.volumes(run.id), driven=self.is_driven(run))

    def graph(self, run_id: str, *, format: Literal["svg", "dot"] = "svg") -> str:
        """Return the graph of a run's tasks, with the state of each.

        :param format: ``svg`` for an image, ``dot`` for Graphviz
        """
        from volflow.report import dot, graph, svg

        state, run = self._context.state, self.get(run_id)
        book = (
            state.taskflow.get_connection().get_logbook(run.logbook_id) if run.logbook_id else None
        )
        found = graph.RunGraph.of(run, self.volumes(run.id), book, driven=self.is_driven(run))
        return svg.svg(found) if format == "svg" else dot.dot(found)

    def unfinished(self) -> Sequence[Run]:
        """List the runs that have not ended and that no process drives, the oldest first."""
        found = [run for one in _OPEN for run in self._context.state.runs.list(state=one)]
        return sorted(
            (run for run in found if not self.is_driven(run)), key=lambda run: run.created_at
        )

    def held(self) -> Sequence[Run]:
        """List the unfinished runs that a person stopped, the oldest first.

        ``Run.held_at`` is when that was. :meth:`resume_all` leaves these runs alone.
        """
        return [run for run in self.unfinished() if run.held_at]

    def holdings(self, run: Run) -> Holdings:
        """Return what a run has made in Cinder and not removed yet, by the ledger."""
        return Holdings.of(request_of(run), self._context.state.ledger.open(run.id))

    def resume(self, run_id: str) -> RunResult:
        """Continue a run that was suspended, or whose process or host has died.

        :raises UsageError: it has ended, or uses another repository
        :raises CloudError: it works in another cloud, or in a project without a role for this user
        :raises DrivenError: a process drives it
        :raises SuspendedError: it was suspended again
        """
        return self._take_over(self._unended(run_id))

    def resume_all(self) -> Iterator[Resumed]:
        """Resume all unfinished runs, one after the other, until ``volflow.stop`` is used.

        Runs that a person stopped are left alone, see :meth:`held`: only :meth:`resume` continues
        them. A run that cannot be resumed does not keep the others from being resumed.

        :raises SuspendedError: a run was suspended
        """
        for run in self.unfinished():
            if run.held_at:
                continue
            if self._context.stop.event.is_set():
                return
            try:
                found = Resumed(run, self.resume(run.id))
            except SuspendedError:
                raise
            except Exception as error:
                LOG.debug("Why run %s could not be resumed", run.id, exc_info=True)
                found = Resumed(run, error=error)
            yield found

    def abort(self, run_id: str) -> RunResult | None:
        """Undo a run that has not ended. Backups that it has stored stay.

        :returns: the result; None if another process drives the run: then that process was asked
            to undo it
        :raises UsageError: it has ended, or uses another repository
        :raises CloudError: it works in another cloud, or in a project without a role for this user
        """
        run, state = self._unended(run_id), self._context.state
        if not lease.is_driven(state.leases, run.id):
            # Otherwise the next resume would undo the run, although this login cannot.
            load_libraries()
            from volflow.runs.work import WorkFactory

            keys = [item.key for item in self.volumes(run.id)]
            WorkFactory(self._context).of_run(run).check_reach(keys)
        run = state.runs.update(run.id, stop=StopMode.ABORT)
        if lease.is_driven(state.leases, run.id):
            return None
        return self._take_over(run)

    def _unended(self, run_id: str) -> Run:
        run = self._context.state.runs.get(run_id)
        if run.state.final:
            raise UsageError(f"Run {run.id} has ended already: it is {run.state.lower()}.")
        repository = complete_request(run).repository
        if repository != self._context.repositories.location:
            raise UsageError(
                f"Run {run.id} uses the repository {repository}, but "
                f"{self._context.repositories.location} is configured."
            )
        return run

    def _take_over(self, run: Run) -> RunResult:
        load_libraries()
        from volflow.runs.drive import drive

        if run.stop == StopMode.ABORT:
            # The ledger lists what to undo: the repository may no longer exist.
            for check in checks(self._context):
                check()
            return drive(self._context, run)
        backups = prepare(self._context)
        if backups is None:
            # A repository that cannot be used fails its own volumes when their turn comes.
            projects = complete_request(run).projects.values()
            backups, _ = self._context.backups.look(filter(None, projects))
        elif isinstance(complete_request(run), BackupRequest):
            self._context.repositories.of().check_writable()
        return drive(self._context, run, backups)
