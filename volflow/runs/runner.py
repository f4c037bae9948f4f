"""Running the flows of a run: so many at a time, persisted, each volume for itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from oslo_utils import uuidutils
from taskflow import states
from taskflow.engines.base import Engine
from taskflow.exceptions import NotFound
from taskflow.persistence import models
from taskflow.storage import Storage
from taskflow.types import notifier

from persistence import Item, ItemFields, ItemState, Run, RunState, State, StateError
from volflow import logs
from volflow.cloud import marks
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import tag
from volflow.errors import CloudError, DrivenError, SuspendedError
from volflow.flows.graph import Component, FlowGraph
from volflow.host.identity import boot_id, host_name
from volflow.plans.restore_target import Destination
from volflow.results import stored as record
from volflow.results.outcome import Figures, Outcome, RunResult, VolumeResult
from volflow.runs import lease as heartbeat
from volflow.runs.engine import load
from volflow.runs.lease import RunLease
from volflow.runs.resume import rewind, rewind_shared, undo, undo_shared
from volflow.runs.step_log import StepRecorder
from volflow.stop import Stop, StopMode
from volflow.tasks.base import Step
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.restore import RestoreData
from volflow.tasks.safety_snapshot import OVERWRITE
from volflow.tasks.save import Save
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Services

LOG = logging.getLogger(__name__)

# Seconds until a signal is noticed at the latest.
_LISTEN = 1.0
_ENDED = (states.SUCCESS, states.REVERTED, states.FAILURE)


class Runner:
    """Drives one run to its end.

    :param state: where the run is persisted
    :param services: what the tasks work with
    :param parallel: how many components of the plan run at a time
    :param stop: how the run is asked to stop
    :param cinder_of: block storage in the project in which a volume or group is worked on
    :param finish: what is done last, when all volumes have ended; it may change the result. A run
        that was killed in it does it again when it is resumed
    """

    def __init__(
        self,
        state: State,
        services: Services,
        parallel: int,
        stop: Stop,
        *,
        cinder_of: Callable[[str], Cinder],
        finish: Callable[[RunResult], RunResult] | None = None,
    ) -> None:
        self._state = state
        self._services = services
        self._parallel = parallel
        self._stop = stop
        self._cinder_of = cinder_of
        self._finish_with = finish
        # Flows that are new, by id, until they begin: they need not be read.
        self._new: dict[str, models.FlowDetail] = {}

    def drive(self, run: Run, plan: FlowGraph) -> RunResult:
        """Start a run, or go on with one: volumes that have ended already are left alone.

        :raises DrivenError: another process drives this run
        :raises SuspendedError: it was asked to stop, and can be resumed
        """
        with (
            logs.about(run.id),
            heartbeat.driving(
                self._state.leases,
                run.id,
                beats=(
                    (heartbeat.BEAT, lambda: self._obey(run.id)),
                    (heartbeat.ALIVE_EVERY, lambda: self._show_life(run.id)),
                ),
                # What is under way ends. That nothing is undone then, the hold sees to.
                lost=self._stop.suspend_run,
            ) as hold,
        ):
            result = None
            try:
                result = self._drive(run, plan, hold)
                return result
            finally:
                # Whatever happened: a terminal wants its cursor back.
                self._services.progress.over(run.id, result)

    def _drive(self, run: Run, plan: FlowGraph, hold: RunLease) -> RunResult:
        self._state.runs.update(
            run.id,
            state=RunState.RUNNING,
            host=host_name(),
            boot_id=boot_id(),
            pid=os.getpid(),
        )
        items = {item.key: item for item in self._state.runs.items(run.id)}
        self._services.progress.planned(run.id, {k: item.name for k, item in items.items()})
        components = plan.components()
        if not run.logbook_id:
            self._write_logbook(run, components)
        tasks = self._parallel * max((len(c.volumes) for c in components), default=1)
        with (
            ThreadPoolExecutor(self._parallel, "volume") as drivers,
            # TaskFlow mistakes a queued task for a running one: none is ever queued.
            ThreadPoolExecutor(tasks, "task") as workers,
        ):

            def work() -> None:
                items = {item.key: item for item in self._state.runs.items(run.id)}
                jobs = [
                    drivers.submit(self._work_on, run, component, items, workers, hold)
                    for component in components
                    if not all(items[key].state.final for key in component.volumes)
                ]
                for job in jobs:
                    # Python acts on a signal in the main thread alone, and the kernel may have
                    # given it to another one, which does not wake that.
                    while futures.wait([job], _LISTEN).not_done:
                        pass
                    job.result()
                hold.ensure()

            work()
            try:
                return self._finish(run)
            except SuspendedError:
                if not self._stop.aborting:
                    raise
            # It was asked to when the flows had been suspended already.
            self._state.runs.update(run.id, state=RunState.RUNNING)
            work()
            return self._finish(run)

    def _obey(self, run_id: str) -> None:
        """Do what another process asks this one to do."""
        logs.begin(run_id)
        if self._state.runs.get(run_id).stop == StopMode.ABORT and not self._stop.aborting:
            LOG.warning("Run %s is to be aborted: undoing what is under way", run_id)
            self._stop.abort_run()

    def _show_life(self, run_id: str) -> None:
        """Tell those who cannot see the lease that the run is alive."""
        logs.begin(run_id)
        sign = marks.alive(datetime.now(UTC))
        for entry in self._services.ledger.open(run_id):
            if entry.kind in (TemporaryVolume.kind, NewVolume.kind) and entry.resource_id:
                try:
                    self._cinder_of(entry.item).volumes.set_metadata(entry.resource_id, sign)
                except CloudError as error:
                    LOG.info("Volume %s could not be marked: %s", entry.resource_id, error)

    def _write_logbook(self, run: Run, components: Iterable[Component]) -> None:
        book = models.LogBook(f"run {run.id}", uuidutils.generate_uuid())
        flows: dict[str, ItemFields] = {}
        for component in components:
            detail = models.FlowDetail(component.volumes[0], uuidutils.generate_uuid())
            # TaskFlow keeps no order; and of what has not begun it keeps nothing.
            detail.meta = component.outline()
            component.forget_flow()
            book.add(detail)
            self._new[detail.uuid] = detail
            flows |= {volume_id: {"flow_id": detail.uuid} for volume_id in component.volumes}
        self._state.runs.update_items(run.id, flows)
        # All at once: adding flows one by one reads the book anew each time.
        self._state.taskflow.get_connection().save_logbook(book)
        self._state.runs.update(run.id, logbook_id=book.uuid)

    def _work_on(
        self,
        run: Run,
        component: Component,
        items: dict[str, Item],
        workers: ThreadPoolExecutor,
        hold: RunLease,
    ) -> None:
        """Run one component's flow to its end, unless it is to stop.

        :raises DrivenError: another process has taken the run
        """
        started = time.monotonic()
        logs.begin(run.id, component.volumes[0] if len(component.volumes) == 1 else None)
        begun = any(items[key].state is not ItemState.PENDING for key in component.volumes)
        if self._stop.event.is_set() and not begun:
            return
        hold.ensure()
        detail = self._detail(items[component.volumes[0]].flow_id)
        # The steps of one volume come one after the other: they need no threads of their own.
        single = component.volumes[0] if len(component.volumes) == 1 else None
        story = StepRecorder(self._state.runs, self._services.progress, run.id, component, items)
        engine = load(
            component.flow, detail, self._state, None if single else workers, hold, story.begins
        )
        # A flow that was reverted would begin anew: a process was killed before it could tell.
        if detail.state not in _ENDED:
            try:
                # Volumes that run as one flow wait for a lane each.
                if single:
                    self._services.slots.enter(single)
                self._run_to_end(run, component, engine, story, begun)
            finally:
                if single:
                    self._services.slots.leave(single)
                # A program that goes on after its run was suspended must not hold the device.
                for volume_id in component.volumes:
                    component.steps(volume_id)[0].work.let_go()
        hold.ensure()
        if engine.storage.get_flow_state() in _ENDED:
            for shared in component.shared:
                shared.dispose(shared.work, shared.tag)
            for volume_id in component.volumes:
                name, seconds = items[volume_id].name, time.monotonic() - started
                result = self._result(run, component, engine, volume_id)
                self._end(
                    run,
                    replace(result, name=name, seconds=seconds, steps=story.steps(volume_id)),
                )
        component.forget_flow()

    def _detail(self, flow_id: str | None) -> models.FlowDetail:
        """What is stored of a flow."""
        new = self._new.pop(flow_id or "", None)
        if new is not None:
            return new
        return self._state.taskflow.get_connection().get_flow_details(flow_id)

    def _run_to_end(
        self, run: Run, component: Component, engine: Engine, story: StepRecorder, begun: bool
    ) -> None:
        """Run an engine's flow, on from where it was; undo it if the run is aborted."""
        engine.compile()
        engine.prepare()
        storage, aborting = engine.storage, self._stop.aborting
        if begun and not aborting:
            for shared in component.shared:
                rewind_shared(storage, shared)
        for volume_id in component.volumes:
            if volume_id in component.undo_only:
                undo(storage, volume_id, component.steps(volume_id))
            elif begun and not aborting:
                rewind(storage, volume_id, component.steps(volume_id))
        if component.undo_only.keys() == set(component.volumes):
            for shared in component.shared:
                undo_shared(storage, shared)
        self._state.runs.update_items(
            run.id, {volume_id: {"state": ItemState.RUNNING} for volume_id in component.volumes}
        )
        engine.atom_notifier.register(notifier.Notifier.ANY, story.tell)
        if not (begun and aborting):
            self._run(engine)
        if self._stop.aborting and storage.get_flow_state() not in _ENDED:
            for volume_id in component.volumes:
                undo(storage, volume_id, component.steps(volume_id))
            for shared in component.shared:
                undo_shared(storage, shared)
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
        except (StateError, DrivenError):
            raise
        except Exception as error:  # noqa: BLE001
            # It is that of a task, and the flow has ended: its atoms tell how.
            LOG.info("A flow ended with: %s", error)

    def _result(
        self, run: Run, component: Component, engine: Engine, volume_id: str
    ) -> VolumeResult:
        storage, steps = engine.storage, component.steps(volume_id)
        done = all(storage.get_atom_state(step.name) == states.SUCCESS for step in steps)
        # What volumes share belongs to each of them where it failed, and to one of them else.
        first = volume_id == component.volumes[0]
        shared = [step.work.volume_id for step in component.shared] if first else []
        leftovers = tuple(
            f"{entry.kind} {entry.resource_id or entry.tag}: {entry.reason}"
            for entry in self._services.ledger.leftovers(run.id, [volume_id, *shared])
        )
        saved = self._saved(volume_id)
        # A stored backup counts, whatever happened after it.
        counts = done or bool(saved) or self._kept(volume_id)
        restored = run.kind == "restore" and counts
        if restored:
            unread = _missing(steps, run.request["targets"][volume_id].get("tags", {}))
        else:
            unread = tuple(saved.get("unread", ()))
        outcome = Outcome.FAILED if not counts else Outcome.PARTIAL if unread else Outcome.COMPLETE
        return VolumeResult(
            volume_id=volume_id,
            name="",
            outcome=outcome,
            backup_id=saved.get("id") or run.request.get("backups", {}).get(volume_id),
            parent_id=saved.get("parent_id"),
            target_id=self._target(run, volume_id) if restored else None,
            figures=Figures(**saved.get("figures", {})),
            unread=unread,
            leftovers=leftovers,
            error=None if done else self._error(component, storage, volume_id),
            differences=tuple(_found(storage, steps[0].symbol("differences"))),
        )

    def _error(self, component: Component, storage: Storage, volume_id: str) -> str:
        """Why a volume has failed: what a step said, or why it was only undone."""
        told = _message(storage, [*component.steps(volume_id), *component.shared])
        undone = component.undo_only.get(volume_id)
        return told or undone or "It was undone before it was done; see the log."

    def _target(self, run: Run, volume_id: str) -> str | None:
        """The volume that was restored: the one named, or the new one that the ledger knows."""
        target = run.request["targets"][volume_id]
        if target["destination"] == Destination.IN_PLACE:
            return str(target["existing"]["id"])
        entry = self._services.ledger.find(tag(self._services.run_id, volume_id, NewVolume.kind))
        return entry.resource_id if entry else None

    def _kept(self, volume_id: str) -> bool:
        """Whether a restore had come so far that nothing rolls it back."""
        ledger, run_id = self._services.ledger, self._services.run_id
        found = [ledger.find(tag(run_id, volume_id, kind)) for kind in (NewVolume.kind, OVERWRITE)]
        return any(entry is not None and bool(entry.details.get("kept")) for entry in found)

    def _saved(self, volume_id: str) -> dict[str, Any]:
        """What the ledger keeps of a backup whose flow was undone after it was stored."""
        entry = self._services.ledger.find(tag(self._services.run_id, volume_id, Save.kind))
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
        """Say how the run has ended.

        :raises SuspendedError: it has not, and can be resumed
        """
        runs = self._state.runs
        left = [item for item in runs.items(run.id) if not item.state.final]
        # Whatever it is asked to do: what has begun has not ended before it is undone.
        begun = any(item.state is ItemState.RUNNING for item in left)
        if left and (begun or not self._stop.aborting):
            runs.update(run.id, state=RunState.SUSPENDED)
            raise SuspendedError(
                f"Run {run.id} is suspended; 'volflow run resume {run.id[:8]}' goes on with "
                f"it, and 'volflow run abort {run.id[:8]}' undoes it."
            )
        for item in left:
            error = "The run was aborted before this volume."
            self._end(run, VolumeResult(item.key, item.name, Outcome.FAILED, error=error))
        items = runs.items(run.id)
        result = record.run_result(run, items)
        if self._finish_with is not None:
            result = self._finish_with(result)
        aborted = any(item.state is ItemState.ABORTED for item in items)
        runs.update(run.id, state=RunState.ABORTED if aborted else RunState[result.outcome.name])
        return result


def _found(storage: Storage, symbol: str) -> list[dict[str, Any]]:
    """What a step has found out, if the flow has such a step and it has run."""
    try:
        return list(storage.fetch(symbol))
    except NotFound:
        return []


def _missing(steps: Sequence[Step], tags: Mapping[str, str]) -> tuple[str, ...]:
    """What a restore cannot bring back, because it is not in the backup.

    :param tags: those of the backup, whose manifest may not be there to name the files
    """
    names = next((step.unread for step in steps if isinstance(step, RestoreData)), ())
    count = tags.get("unread")
    return names or ((f"{count} files, which the backup names",) if count else ())


def _message(storage: Storage, steps: Sequence[Step]) -> str | None:
    """What the first step said that failed, if one did."""
    failures = storage.get_execute_failures()
    for step in steps:
        if step.name in failures:
            exception = failures[step.name].exception
            text = failures[step.name].exception_str if exception is None else str(exception)
            return text or type(exception).__name__
    return None
