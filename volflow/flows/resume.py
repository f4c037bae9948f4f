"""What has to be done again when a run goes on in another process."""

from __future__ import annotations

from collections.abc import Iterable

from taskflow import states
from taskflow.engines.base import Engine

from volflow.tasks.base import Step


def rewind(engine: Engine, steps: Iterable[Step]) -> None:
    """Set back those atoms of a prepared engine that a new process must run again.

    A step that was interrupted runs again: TaskFlow would do so too, but without a look at the
    steps before it. A device and a mount are gone with the host, the boot or the process that made
    them; so unless they have been given up already, all steps that belong to the host run again.
    A flow that was being reverted is left alone: its reverts do not rely on anything of the host.
    """
    storage = engine.storage
    steps = list(steps)
    if any(storage.get_atom_intention(step.name) == states.REVERT for step in steps):
        return
    state = {step.name: storage.get_atom_state(step.name) for step in steps}
    local = [step for step in steps if step.host_local]
    given_up = bool(local) and state[local[-1].name] == states.SUCCESS
    for step in steps:
        if state[step.name] == states.RUNNING or (step.host_local and not given_up):
            storage.reset(step.name)
