"""Running the flows of a run: so many at a time, persisted, each volume for itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oslo_utils import uuidutils
from taskflow import engines, states
from taskflow.engines.base import Engine
from taskflow.patterns import graph_flow
from taskflow.persistence import models
from taskflow.types import notifier
from taskflow.types.failure import Failure

from persistence import Item, ItemState, Run, RunState, State, StateError
from volflow import heartbeat
from volflow.errors import CloudError, SuspendedError
from volflow.flows.plan import Plan
from volflow.flows.resume import rewind, undo
from volflow.host.identity import boot_id, host_name
from volflow.result import Figures, Outcome, RunResult, VolumeResult
from volflow.stop import Stop, Way
from volflow.tasks.base import Step
from volflow.tasks.clone import Clone
from volflow.tasks.save import Save
from volflow.tasks.target import NewVolume
from volflow.tasks.work import Services, Work

LOG = logging.getLogger(__name__)

_TOLD = (
    states.RUNNING,
    states.SUCCESS,
    states.FAILURE,
    states.REVERTING,
    states.REVERTED,
    states.REVERT_FAILURE,
)
_ENDED = (states.SUCCESS, states.REVERTED, states.FAILURE)


@dataclass(frozen=True)
class _Component:
    """Volumes that run as one flow, with their steps."""

    volumes: Sequence[str]
    flow: graph_flow.Flow

    def steps(self, volume_id: str) -> list[Step]:
        return [
            step
            for subflow in self.flow
            for step in subflow
            if isinstance(step, Step) and step.work.volume_id == volume_id
        ]


class Runner:
    """Drives one run to its end.

    :param state: where the run is persisted
    :param services: what the tasks work with
    :param parallel: how many components of the plan run at a time
    :param stop: how the run is asked to stop
    """

    def __init__(self, state: State, services: Services, parallel: int, stop: Stop) -> None:
        self._state = state
        self._services = services
        self._parallel = parallel
        self._stop = stop
        self._alive = time.monotonic()

    def drive(self, run: Run, plan: Plan) -> RunResult:
        """Start a run, or go on with one: volumes that have ended already are left alone.

        :raises DrivenError: another process drives this run
        :raises SuspendedError: it was asked to stop, and can be resumed
        """
        with heartbeat.driving(
            self._state.leases,
            run.id,
            beat=lambda: self._obey(run.id),
            # Whoever has the run now goes on with it: nothing must be undone here.
            lost=self._stop.suspend,
        ):
            self._state.runs.update(
                run.id,
                state=RunState.RUNNING,
                host=host_name(),
                boot_id=boot_id(),
                pid=os.getpid(),
            )
            items = {item.key: item for item in self._state.runs.items(run.id)}
            self._services.progress.planned(run.id, {k: item.name for k, item in items.items()})
            components = [_Component(*component) for component in plan.components()]
            book = self._logbook(run, components)
            tasks = self._parallel * max((len(c.volumes) for c in components), default=1)
            with (
                ThreadPoolExecutor(self._parallel, "volume") as drivers,
                # TaskFlow mistakes a queued task for a running one: none is ever queued.
                ThreadPoolExecutor(tasks, "task") as workers,
            ):
                jobs = [
                    drivers.submit(self._work_on, run, component, items, book, workers)
                    for component in components
                ]
                for job in jobs:
                    job.result()
            return self._finish(run)

    def _obey(self, run_id: str) -> None:
        """Do what another process asks this one to do, and tell those who cannot ask."""
        if time.monotonic() - self._alive > heartbeat.ALIVE_EVERY:
            self._alive = time.monotonic()
            self._show_life(run_id)
        if self._state.runs.get(run_id).stop == Way.ABORT and not self._stop.aborting:
            LOG.warning("Run %s is to be aborted: undoing what is under way", run_id)
            self._stop.abort()

    def _show_life(self, run_id: str) -> None:
        now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
        for entry in self._services.ledger.open(run_id):
            if entry.kind in (Clone.kind, NewVolume.kind) and entry.resource_id:
                try:
                    self._services.cinder.set_metadata(
                        entry.resource_id, {heartbeat.ALIVE_KEY: now}
                    )
                except CloudError as error:
                    LOG.info("Volume %s could not be marked: %s", entry.resource_id, error)

    def _logbook(self, run: Run, components: Iterable[_Component]) -> models.LogBook:
        backend = self._state.taskflow.get_connection()
        if run.logbook_id:
            return backend.get_logbook(run.logbook_id)
        book = models.LogBook(f"run {run.id}", uuidutils.generate_uuid())
        for component in components:
            detail = models.FlowDetail(component.flow.name, uuidutils.generate_uuid())
            book.add(detail)
            for volume_id in component.volumes:
                self._state.runs.update_item(run.id, volume_id, flow_id=detail.uuid)
        # All at once: adding flows one by one reads the book anew each time.
        backend.save_logbook(book)
        self._state.runs.update(run.id, logbook_id=book.uuid)
        return book

    def _work_on(
        self,
        run: Run,
        component: _Component,
        items: dict[str, Item],
        book: models.LogBook,
        workers: ThreadPoolExecutor,
    ) -> None:
        """Run one component's flow to its end, unless it is to stop."""
        runs, started = self._state.runs, time.monotonic()
        begun = any(
            items[volume_id].state is not ItemState.PENDING for volume_id in component.volumes
        )
        if self._stop.event.is_set() and not begun:
            return
        detail = book.find(runs.item(run.id, component.volumes[0]).flow_id)
        engine = engines.load(
            component.flow,
            flow_detail=detail,
            book=book,
            backend=self._state.taskflow,
            engine="parallel",
            executor=workers,
        )
        # A flow that was reverted would begin anew: a process was killed before it could tell.
        if detail.state not in _ENDED:
            self._run_to_end(run, component, engine, begun)
        if engine.storage.get_flow_state() in _ENDED:
            for volume_id in component.volumes:
                name, seconds = items[volume_id].name, time.monotonic() - started
                self._end(run, self._result(run, engine, volume_id, name, seconds))

    def _run_to_end(self, run: Run, component: _Component, engine: Engine, begun: bool) -> None:
        """Run an engine's flow, on from where it was; undo it if the run is aborted."""
        engine.compile()
        engine.prepare()
        for volume_id in component.volumes:
            if begun and not self._stop.aborting:
                rewind(engine.storage, volume_id, component.steps(volume_id))
            self._state.runs.update_item(run.id, volume_id, state=ItemState.RUNNING)
        engine.atom_notifier.register(notifier.Notifier.ANY, self._told(run, component))
        if not (begun and self._stop.aborting):
            self._run(engine)
        if self._stop.aborting and engine.storage.get_flow_state() not in _ENDED:
            for volume_id in component.volumes:
                undo(engine.storage, volume_id, component.steps(volume_id))
            self._run(engine)

    def _run(self, engine: Engine) -> None:
        """Run an engine until its flow has ended, or as far as it is when the run is suspended."""
        transitions = engine.run_iter()
        try:
            next(transitions)
            while True:
                # Between two transitions, so that what a suspension interrupts is not reverted.
                transitions.send(self._stop.suspending or None)
        except StopIteration:
            return
        except StateError:
            raise
        except Exception as error:  # noqa: BLE001
            # It is that of a task, and the flow has ended: its atoms tell how.
            LOG.info("A flow ended with: %s", error)

    def _told(self, run: Run, component: _Component) -> Any:
        by_name = {
            step.name: step for volume in component.volumes for step in component.steps(volume)
        }

        def told(state: str, details: dict[str, Any]) -> None:
            step = by_name.get(details.get("task_name", ""))
            if step is None or state not in _TOLD:
                return
            volume_id, name = step.work.volume_id, step.name.partition(":")[2]
            self._services.progress.step(volume_id, name, state)
            if state in (states.RUNNING, states.REVERTING):
                self._state.runs.update_item(run.id, volume_id, step=name)

        return told

    def _result(
        self, run: Run, engine: Engine, volume_id: str, name: str, seconds: float
    ) -> VolumeResult:
        storage, mine = engine.storage, f"{volume_id}:"
        failures = [
            failure
            for atom, failure in storage.get_execute_failures().items()
            if atom.startswith(mine)
        ]
        leftovers = tuple(
            f"{entry.kind} {entry.resource_id or entry.tag}: {entry.reason}"
            for entry in self._services.ledger.leftovers(run.id)
            if entry.item == volume_id
        )
        done = storage.get_flow_state() == states.SUCCESS
        stored = {
            symbol.removeprefix(mine): value
            for symbol, value in storage.fetch_all().items()
            if symbol.startswith(mine) and not isinstance(value, Failure)
        }
        saved: dict[str, Any] = stored.get("saved") or self._saved(volume_id)
        unread = tuple(saved.get("unread", ()))
        # A stored backup counts, whatever happened after it.
        counts = done or bool(saved)
        outcome = Outcome.FAILED if not counts else Outcome.PARTIAL if unread else Outcome.COMPLETE
        return VolumeResult(
            volume_id=volume_id,
            name=name,
            outcome=outcome,
            backup_id=saved.get("id") or run.request.get("backups", {}).get(volume_id),
            parent_id=saved.get("parent_id"),
            target_id=stored.get("clone_id") if run.kind == "restore" and done else None,
            figures=Figures(**saved.get("figures", {})),
            seconds=seconds,
            unread=unread,
            leftovers=leftovers,
            error=None if done else _message(failures),
        )

    def _saved(self, volume_id: str) -> dict[str, Any]:
        """What the ledger keeps of a backup whose flow was undone after it was stored."""
        entry = self._services.ledger.find(Work(self._services, volume_id).tag(Save.kind))
        return entry.details if entry is not None and entry.resource_id else {}

    def _end(self, run: Run, result: VolumeResult) -> None:
        failed = result.outcome is Outcome.FAILED
        state = ItemState.ABORTED if failed and self._stop.aborting else result.outcome.name
        self._state.runs.update_item(
            run.id,
            result.volume_id,
            state=ItemState(state),
            result=result.to_dict(),
            error=result.error,
        )
        self._services.progress.ended(result)

    def _finish(self, run: Run) -> RunResult:
        runs = self._state.runs
        for item in runs.items(run.id):
            if item.state.final:
                continue
            if not self._stop.aborting:
                runs.update(run.id, state=RunState.SUSPENDED)
                raise SuspendedError(
                    f"Run {run.id} is suspended; 'volflow run resume {run.id[:8]}' goes on with "
                    f"it, and 'volflow run abort {run.id[:8]}' undoes it."
                )
            error = "The run was aborted before this volume."
            self._end(run, VolumeResult(item.key, item.name, Outcome.FAILED, error=error))
        items = runs.items(run.id)
        result = RunResult(
            run.id, run.kind, tuple(VolumeResult.from_dict(item.result) for item in items)
        )
        aborted = any(item.state is ItemState.ABORTED for item in items)
        runs.update(run.id, state=RunState.ABORTED if aborted else RunState[result.outcome.name])
        return result


def _message(failures: list[Any]) -> str:
    if not failures:
        return "It was undone before it was done; see the log."
    exception = failures[0].exception
    return str(exception) if exception is not None else str(failures[0].exception_str)
