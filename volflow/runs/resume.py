"""Resets the steps that another process must run again, or undo, when it continues a run."""

from __future__ import annotations

from collections.abc import Sequence

from taskflow import states
from taskflow.storage import Storage

from volflow.errors import StoppedError
from volflow.flows.volume import retry_name
from volflow.tasks.base import Step, Temporary


def rewind(storage: Storage, volume_id: str, steps: Sequence[Step]) -> None:
    """Reset those of a volume's atoms that a new process must run again.

    An interrupted step runs again: TaskFlow would do so too, but without checking the steps before
    it. Devices and mounts do not outlive the host, the boot or the process that made them; so
    unless the flow has already released them, all steps that belong to the host run again. If a
    revert has begun, nothing is reset: a revert does not depend on the host.
    """
    state = {step.name: storage.get_atom_state(step.name) for step in steps}
    failures = {
        name: failure for name, failure in storage.get_execute_failures().items() if name in state
    }
    interrupted = {name for name, failure in failures.items() if failure.check(StoppedError)}
    undoing = {states.REVERTING, states.REVERTED, states.REVERT_FAILURE} & set(state.values())
    if undoing or failures.keys() - interrupted:
        return
    _intend(storage, volume_id, steps, states.EXECUTE)
    local = [step for step in steps if step.host_local]
    released = bool(local) and state[local[-1].name] == states.SUCCESS
    for step in steps:
        again = state[step.name] == states.RUNNING or step.name in interrupted
        if again or step.process_local or (step.host_local and not released):
            storage.reset(step.name)


def undo(storage: Storage, volume_id: str, steps: Sequence[Step]) -> None:
    """Make the next run of the engine revert all steps of a volume.

    TaskFlow reverts only steps that have begun. A resume that was killed may have reset steps whose
    resources exist: they count as done here, so that they are reverted too, and in their order.
    """
    for step in steps:
        pending = storage.get_atom_state(step.name) == states.PENDING
        if pending and isinstance(step, Temporary) and step.is_open:
            storage.set_atom_state(step.name, states.SUCCESS)
    _intend(storage, volume_id, steps, states.REVERT)


def _intend(storage: Storage, volume_id: str, steps: Sequence[Step], intention: str) -> None:
    for name in [retry_name(volume_id), *(step.name for step in steps)]:
        storage.set_atom_intention(name, intention)


def undo_shared(storage: Storage, step: Step) -> None:
    """Make the next run of the engine revert a shared step, because all its volumes are undone."""
    storage.set_atom_intention(step.name, states.REVERT)


def rewind_shared(storage: Storage, step: Step) -> None:
    """Reset a step that volumes share, if it was interrupted."""
    failure = storage.get_execute_failures().get(step.name)
    if failure is not None and failure.check(StoppedError):
        storage.set_atom_intention(step.name, states.EXECUTE)
        storage.reset(step.name)
    elif storage.get_atom_state(step.name) == states.RUNNING:
        storage.reset(step.name)
