"""What happens to the volumes of one flow, step by step: told, and kept."""

from __future__ import annotations

import time
from typing import Any

from taskflow import states

from persistence import Runs
from volflow.flows.plan import Component
from volflow.progress import Progress
from volflow.result import StepTime

_BEGUN = (states.RUNNING, states.REVERTING)
_ENDED = (states.SUCCESS, states.FAILURE, states.REVERTED, states.REVERT_FAILURE)


class Story:
    """Listens to the atoms of an engine.

    :param runs: where each volume's step is written for others to read
    :param progress: who is told as it happens
    """

    def __init__(self, runs: Runs, progress: Progress, run_id: str, component: Component) -> None:
        self._runs = runs
        self._progress = progress
        self._run_id = run_id
        self._volumes = component.volumes
        self._shared = {step.name for step in component.shared}
        self._steps = {step.name: step for step in component.all_steps}
        self._times: dict[str, list[StepTime]] = {volume: [] for volume in component.volumes}
        self._began: dict[str, float] = {}

    def tell(self, state: str, details: dict[str, Any]) -> None:
        """Called by TaskFlow when an atom comes to a state."""
        step = self._steps.get(details.get("task_name", ""))
        if step is None:
            return
        name = step.name.partition(":")[2]
        # What is shared happens to all of them.
        volumes = self._volumes if step.name in self._shared else [step.work.volume_id]
        for volume_id in volumes:
            if state in _BEGUN:
                self._runs.update_item(self._run_id, volume_id, step=name)
            self._progress.step(volume_id, name, state)
        if state in _BEGUN:
            self._began[step.name] = time.time()
        elif state in _ENDED and step.name in self._began:
            began = self._began.pop(step.name)
            for volume_id in volumes:
                self._times[volume_id].append(StepTime(name, state, began, time.time() - began))

    def steps(self, volume_id: str) -> tuple[StepTime, ...]:
        """The steps of a volume in the order in which they ended."""
        return tuple(self._times[volume_id])
