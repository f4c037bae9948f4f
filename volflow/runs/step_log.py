"""Recording the steps of the volumes of one flow, for observers and in the state database."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from taskflow import states

from persistence import Item, ItemSteps, Runs
from volflow.flows.graph import Component
from volflow.observers.progress import Observer
from volflow.results import stored
from volflow.results.outcome import StepTime
from volflow.tasks.base import Step

_BEGUN = (states.RUNNING, states.REVERTING)
_ENDED = (states.SUCCESS, states.FAILURE, states.REVERTED, states.REVERT_FAILURE)


class StepRecorder:
    """Listens to the atoms of an engine.

    :param runs: stores the steps of each volume, for other processes and for a resume
    :param progress: receives the steps as they happen
    :param items: the volumes as they were when this process began, by id
    """

    def __init__(
        self,
        runs: Runs,
        progress: Observer,
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
        # For a step that another process began, the time of its end is not known.
        self._times = {
            volume_id: [s for s in stored.steps(items[volume_id]) if s.state in _ENDED]
            for volume_id in component.volumes
        }
        # The same steps as they are stored, so that only new steps are converted each time.
        self._written = {
            volume_id: [dict(vars(one)) for one in times]
            for volume_id, times in self._times.items()
        }
        self._began: dict[str, float] = {}
        # The steps whose beginning the engine saves, until TaskFlow reports it.
        self._asked: set[str] = set()

    def begins(self, atom: str, state: str) -> ItemSteps | None:
        """What to save of the volumes together with a new state of one of their atoms.

        :returns: None if no step begins with this state
        """
        step = self._steps.get(atom)
        if step is None or state not in _BEGUN:
            return None
        self._asked.add(atom)
        return self._begin(step, state)

    def _begin(self, step: Step, state: str) -> ItemSteps:
        name, shared = _name(step), step.name in self._shared
        self._began[step.name] = time.time()
        begun = dict(vars(StepTime(name, state, self._began[step.name], 0.0, shared)))
        return ItemSteps(
            self._run_id,
            {
                volume_id: {
                    "step": name,
                    "result": {"steps": [*self._written[volume_id], begun]},
                }
                for volume_id in self._volumes_of(step)
            },
        )

    def _volumes_of(self, step: Step) -> Sequence[str]:
        """The volumes of a step: all of them for a shared step."""
        return self._volumes if step.name in self._shared else [step.work.volume_id]

    def tell(self, state: str, details: dict[str, Any]) -> None:
        """Called by TaskFlow when an atom has changed its state."""
        step = self._steps.get(details.get("task_name", ""))
        if step is None:
            return
        name, volumes = _name(step), self._volumes_of(step)
        if state in _BEGUN:
            if step.name in self._asked:
                self._asked.discard(step.name)
            else:
                # A killed process began it, so TaskFlow does not save its state again.
                begun = self._begin(step, state)
                self._runs.update_items(begun.run_id, begun.items)
        elif state in _ENDED and step.name in self._began:
            began = self._began.pop(step.name)
            shared = step.name in self._shared
            ended = StepTime(name, state, began, time.time() - began, shared)
            for volume_id in volumes:
                self._times[volume_id].append(ended)
                self._written[volume_id].append(dict(vars(ended)))
        for volume_id in volumes:
            self._progress.step(volume_id, name, state)

    def steps(self, volume_id: str) -> tuple[StepTime, ...]:
        """The steps of a volume in the order in which they ended."""
        return tuple(self._times[volume_id])


def _name(step: Step) -> str:
    """The name of a step without the volume."""
    return str(step.name).partition(":")[2]
