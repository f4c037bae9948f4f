"""Runs the flows of a run: a limited number in parallel, each persisted separately."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from persistence import Item, ItemState, Run, RunState, State
from volflow import logs
from volflow.cloud import marks
from volflow.errors import CloudError, StoppedError, SuspendedError
from volflow.flows.graph import Component, FlowGraph
from volflow.host.identity import boot_id, host_name
from volflow.results import stored
from volflow.results.outcome import Outcome, RunResult, VolumeResult
from volflow.results.request import RestoreRequest
from volflow.runs import lease
from volflow.runs.flow_run import FlowRun
from volflow.runs.gone import note_gone
from volflow.runs.lease import RunLease
from volflow.runs.logbook import Logbook
from volflow.runs.remove_old import remove_replaced
from volflow.runs.sweep import Sweep
from volflow.runs.work import RunWork
from volflow.stop import Stop, StopMode
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.temporary_volume import TemporaryVolume

LOG = logging.getLogger(__name__)

# Maximum number of seconds until a signal is noticed.
_LISTEN = 1.0


class Runner:
    """Drives one run to its end.

    :param state: where the run is persisted
    :param work: what the tasks use
    :param stop: how the run is asked to stop
    """

    def __init__(self, state: State, work: RunWork, stop: Stop) -> None:
        self._state = state
        self._work = work
        self._services = work.services
        self._stop = stop
        self._logbook = Logbook(state)

    def drive(self, run: Run, graph: FlowGraph) -> RunResult:
        """Start or continue a run. Volumes that have already ended are not changed.

        :raises DrivenError: another process drives this run
        :raises SuspendedError: it was asked to stop, and can be resumed
        """
        with (
            logs.about(run.id),
            lease.driving(
                self._state.leases,
                run.id,
                beats=(
                    (lease.BEAT, lambda: self._obey(run.id)),
                    (_LISTEN / 2, lambda: self._hold(run.id)),
                    (lease.ALIVE_EVERY, lambda: self._show_life(run.id)),
                ),
                # Running steps end. Without the lease, nothing is undone.
                lost=self._stop.suspend_run,
                every=lease.BEAT,
            ) as held,
        ):
            result = None
            try:
                result = self._drive(run, graph, held)
                return result
            finally:
                # In any case: a terminal needs its cursor back.
                self._services.observer.over(run.id, result)

    def _drive(self, run: Run, graph: FlowGraph, held: RunLease) -> RunResult:
        self._state.runs.update(
            run.id,
            state=RunState.RUNNING,
            host=host_name(),
            boot_id=boot_id(),
            pid=os.getpid(),
            held_at=None,
        )
        items = {item.key: item for item in self._state.runs.items(run.id)}
        self._services.observer.planned(run.id, {k: item.name for k, item in items.items()})
        components = graph.components()
        if not run.logbook_id:
            self._logbook.write(run, components)
        parallel = self._work.request.parallel
        tasks = parallel * max((len(c.volumes) for c in components), default=1)
        with (
            ThreadPoolExecutor(parallel, "volume") as drivers,
            # Enough workers to queue no task: TaskFlow mistakes a queued task for a running one.
            ThreadPoolExecutor(tasks, "task") as workers,
        ):
            flows = FlowRun(self._state, self._work, self._stop, self._logbook, held, workers)
            self._run_all(components, flows, drivers)
            held.ensure()
            try:
                return self._finish(run, held)
            except SuspendedError:
                if not self._stop.aborting:
                    raise
            # The request to abort came after the flows had been suspended.
            self._state.runs.update(run.id, state=RunState.RUNNING)
            self._run_all(components, flows, drivers)
            held.ensure()
            return self._finish(run, held)

    def _run_all(
        self, components: list[Component], flows: FlowRun, drivers: ThreadPoolExecutor
    ) -> None:
        """Run the components that have not ended, a limited number in parallel."""
        items = {item.key: item for item in self._state.runs.items(self._work.run_id)}
        jobs = [
            drivers.submit(self._run_one, component, items, flows)
            for component in components
            if not all(items[key].state.final for key in component.volumes)
        ]
        for job in jobs:
            # Python handles signals in the main thread only, and the kernel may have delivered
            # one to another thread, which does not wake the main thread.
            while futures.wait([job], _LISTEN).not_done:
                pass
            job.result()

    def _run_one(self, component: Component, items: Mapping[str, Item], flows: FlowRun) -> None:
        for result in flows.run(component, items):
            self._end(result)

    def _obey(self, run_id: str) -> None:
        """Abort the run if another process asks for that."""
        logs.begin(run_id)
        if self._state.runs.get(run_id).stop == StopMode.ABORT and not self._stop.aborting:
            self._stop.abort_run()
            LOG.warning("Aborting run %s: undoing the volumes in progress", run_id)

    def _hold(self, run_id: str) -> None:
        """Store at once that a person has stopped the run: the process may not end in time."""
        if self._stop.held and self._state.runs.get(run_id).held_at is None:
            self._state.runs.update(run_id, held_at=datetime.now(UTC))

    def _show_life(self, run_id: str) -> None:
        """Mark the volumes of the run as alive, for those who cannot see the lease."""
        logs.begin(run_id)
        sign = marks.alive(datetime.now(UTC))
        for entry in self._services.ledger.open(run_id):
            if entry.kind in (TemporaryVolume.kind, NewVolume.kind) and entry.resource_id:
                try:
                    volumes = self._work.of(entry.item).cinder.volumes
                    volumes.set_metadata(entry.resource_id, sign)
                except CloudError as error:
                    LOG.info("Volume %s could not be marked: %s", entry.resource_id, error)

    def _end(self, result: VolumeResult) -> None:
        """Store how a volume ended."""
        failed = result.outcome is Outcome.FAILED
        state = ItemState.ABORTED if failed and self._stop.aborting else result.outcome.name
        # Before its end is stored: a process that is killed here repeats it.
        note_gone(self._work, result)
        self._state.runs.update_item(
            self._work.run_id,
            result.volume_id,
            state=ItemState(state),
            result=result.to_dict(),
            error=result.error,
        )
        self._services.observer.ended(result)

    def _finish(self, run: Run, held: RunLease) -> RunResult:
        """Remove what is still open in the ledger, and store how the run ended.

        A run that is killed in this method repeats it when it is resumed.

        :raises SuspendedError: it has not ended, and can be resumed
        """
        runs = self._state.runs
        left = [item for item in runs.items(run.id) if not item.state.final]
        # Even if the run is aborted: a volume that has begun ends only when it is undone.
        begun = any(item.state is ItemState.RUNNING for item in left)
        if left and (begun or not self._stop.aborting):
            raise self._suspended(run)
        for item in left:
            error = "The run was aborted before this volume."
            self._end(VolumeResult(item.key, item.name, Outcome.FAILED, error=error))
        try:
            Sweep(self._state, self._work, held).sweep(interruptible=not self._stop.aborting)
        except StoppedError as error:
            raise self._suspended(run) from error
        held.ensure()
        items = runs.items(run.id)
        result = stored.run_result(run, items)
        request = self._work.request
        if isinstance(request, RestoreRequest) and request.options.remove_old_vol:
            result = remove_replaced(runs, self._work, result, aborting=self._stop.aborting)
        aborted = any(item.state is ItemState.ABORTED for item in items)
        runs.update(run.id, state=RunState.ABORTED if aborted else RunState[result.outcome.name])
        return result

    def _suspended(self, run: Run) -> SuspendedError:
        """Store that the run is suspended; returns the error that says so."""
        self._hold(run.id)
        self._state.runs.update(run.id, state=RunState.SUSPENDED)
        state = "held" if self._stop.held else "suspended"
        return SuspendedError(
            f"Run {run.id} is {state}; 'volflow run resume {run.id[:8]}' continues it, and "
            f"'volflow run abort {run.id[:8]}' undoes it."
        )
