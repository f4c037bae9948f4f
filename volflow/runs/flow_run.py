"""Running the flow of one component in an engine of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import replace

from taskflow import states
from taskflow.engines.base import Engine
from taskflow.types import notifier

from persistence import Item, ItemState, State, StateError
from volflow import logs
from volflow.errors import DrivenError
from volflow.flows.graph import Component
from volflow.results.outcome import VolumeResult
from volflow.runs.engine import load
from volflow.runs.failures import told
from volflow.runs.lease import RunLease
from volflow.runs.logbook import Logbook
from volflow.runs.resume import rewind, rewind_shared, undo, undo_shared
from volflow.runs.step_log import StepRecorder
from volflow.runs.volume_result import volume_result
from volflow.runs.work import RunWork
from volflow.stop import Stop

LOG = logging.getLogger(__name__)

_ENDED = (states.SUCCESS, states.REVERTED, states.FAILURE)


class FlowRun:
    """Runs the flows of one run, each to its end unless the run is asked to stop.

    :param lease: the right to drive the run
    :param workers: runs the steps of a component of several volumes
    """

    def __init__(
        self,
        state: State,
        work: RunWork,
        stop: Stop,
        logbook: Logbook,
        lease: RunLease,
        workers: Executor,
    ) -> None:
        self._state = state
        self._work = work
        self._stop = stop
        self._logbook = logbook
        self._lease = lease
        self._workers = workers

    def run(self, component: Component, items: Mapping[str, Item]) -> list[VolumeResult]:
        """Run the flow of a component, or continue it.

        :param items: the volumes as they were when this process began, by id
        :returns: the results of its volumes; none when it was asked to stop before the end
        :raises DrivenError: another process has taken the run
        """
        started = time.monotonic()
        # The steps of one volume run one after the other: they need no threads of their own.
        single = component.volumes[0] if len(component.volumes) == 1 else None
        logs.begin(self._work.run_id, single)
        begun = any(items[key].state is not ItemState.PENDING for key in component.volumes)
        if self._stop.event.is_set() and not begun:
            return []
        self._lease.ensure()
        detail = self._logbook.flow(items[component.volumes[0]].flow_id)
        recorder = StepRecorder(
            self._state.runs, self._work.services.observer, self._work.run_id, component, items
        )
        engine = load(
            component.flow,
            detail,
            self._state,
            None if single else self._workers,
            self._lease,
            recorder.begins,
        )
        # A flow that ended would begin anew: a process was killed before it could store the result.
        if detail.state not in _ENDED:
            slots = self._work.services.slots
            try:
                # Volumes that run as one flow wait for a slot each.
                if single:
                    slots.acquire(single)
                self._run_to_end(component, engine, recorder, begun)
            finally:
                if single:
                    slots.release(single)
                # A program that continues after its run was suspended must not hold the device.
                for volume_id in component.volumes:
                    component.steps(volume_id)[0].work.unmount()
        self._lease.ensure()
        results = []
        if engine.storage.get_flow_state() in _ENDED:
            for shared in component.shared:
                shared.dispose(shared.work, shared.tag)
            results = [
                replace(
                    volume_result(self._work, component, engine.storage, volume_id),
                    name=items[volume_id].name,
                    seconds=time.monotonic() - started,
                    steps=recorder.steps(volume_id),
                )
                for volume_id in component.volumes
            ]
        component.forget_flow()
        return results

    def _run_to_end(
        self, component: Component, engine: Engine, recorder: StepRecorder, begun: bool
    ) -> None:
        """Run an engine's flow from where it was; undo it if the run is aborted."""
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
            self._work.run_id,
            {volume_id: {"state": ItemState.RUNNING} for volume_id in component.volumes},
        )
        engine.atom_notifier.register(notifier.Notifier.ANY, recorder.tell)
        if not (begun and aborting):
            self._run(engine)
        if self._stop.aborting and storage.get_flow_state() not in _ENDED:
            for volume_id in component.volumes:
                undo(storage, volume_id, component.steps(volume_id))
            for shared in component.shared:
                undo_shared(storage, shared)
            self._run(engine)

    def _run(self, engine: Engine) -> None:
        """Run an engine until its flow ends, or until the run is suspended."""
        transitions = engine.run_iter()
        try:
            next(transitions)
            while True:
                # Between two transitions, so that TaskFlow does not revert an interrupted step.
                transitions.send(self._stop.suspending or None)
        except StopIteration:
            return
        except (StateError, DrivenError):
            raise
        except Exception as error:  # noqa: BLE001
            # A task raised it, and the flow has ended: its atoms show how.
            LOG.info("A flow ended with: %s", told(error))
