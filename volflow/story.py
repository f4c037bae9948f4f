"""What happens to the volumes of one flow, step by step: told, and kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from taskflow import states

from persistence import Item, Runs
from volflow import record
from volflow.flows.plan import Component
from volflow.progress import Progress
from volflow.result import StepTime

_BEGUN = (states.RUNNING, states.REVERTING)
_ENDED = (states.SUCCESS, states.FAILURE, states.REVERTED, states.REVERT_FAILURE)


class Story:
    """Listens to the atoms of an engine.

    :param runs: where each volume's steps are written for others to read, and for a resume
    :param progress: who is told as it happens
    :param items: the volumes as they were when this process began, by id
    """

    def __init__(
        self,
        runs: Runs,
        progress: Progress,
        run_id: str,
        component: Component,
        items: Mapping[str, Item],
    ) -> None:
        self._runs = runs
        self._progress = progress
        self._run_id = run_id
        self._volumes = component.volumes
        self._shared = {step.name for step in component.shared}
        self._steps = {step.name: step for step in component.all_steps}
        # What another process was in the middle of has no end that anybody knows.
        self._times = {
            volume_id: [s for s in record.steps(items[volume_id]) if s.state in _ENDED]
            for volume_id in component.volumes
        }
        # The same as it is written: only what is new has to be put into words each time.
        self._written = {
            volume_id: [dict(vars(one)) for one in times]
            for volume_id, times in self._times.items()
        }
        self._began: dict[str, float] = {}

    def tell(self, state: str, details: dict[str, Any]) -> None:
        """Called by TaskFlow when an atom comes to a state."""
        step = self._steps.get(details.get("task_name", ""))
        if step is None:
            return
        name = step.name.partition(":")[2]
        # What is shared happens to all of them.
        shared = step.name in self._shared
        volumes = self._volumes if shared else [step.work.volume_id]
        if state in _BEGUN:
            self._began[step.name] = time.time()
            begun = dict(vars(StepTime(name, state, self._began[step.name], 0.0, shared)))
            self._runs.update_items(
                self._run_id,
                {
                    volume_id: {
                        "step": name,
                        "result": {"steps": [*self._written[volume_id], begun]},
                    }
                    for volume_id in volumes
                },
            )
        elif state in _ENDED and step.name in self._began:
            began = self._began.pop(step.name)
            ended = StepTime(name, state, began, time.time() - began, shared)
            for volume_id in volumes:
                self._times[volume_id].append(ended)
                self._written[volume_id].append(dict(vars(ended)))
        for volume_id in volumes:
            self._progress.step(volume_id, name, state)

    def steps(self, volume_id: str) -> tuple[StepTime, ...]:
        """The steps of a volume in the order in which they ended."""
        return tuple(self._times[volume_id])
