"""TaskFlow's engines, with the saves left out that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from taskflow import states
from taskflow.engines.action_engine import engine
from taskflow.patterns import graph_flow
from taskflow.persistence import models
from taskflow.storage import Storage
from taskflow.utils import misc

from persistence import ItemSteps, State
from persistence.overrides import overrides
from volflow.runs.lease import RunLease

#: What items come to when an atom comes to a state; None where that tells nothing of them.
Begins = Callable[[str, str], ItemSteps | None]

# On the way to being run, and nothing else has been saved since the state before.
_PASSING = {(states.PENDING, states.RESUMING), (states.RESUMING, states.SUSPENDED)}


@overrides("taskflow")
class _Storage(Storage):
    """What an engine knows of its flow, and saves.

    It saves a step before it is worked on and after, and that is all that a resume needs. How far
    a step is, volflow keeps itself: TaskFlow would save beside each change of a step's state that
    it is done to 0 or to 100 %.

    What the volumes come to with a step that begins is saved together with that it does.

    Before each save it makes sure that the run is still this process's. Nothing is begun and
    nothing is undone without a save, so a process that has lost its run does neither.
    """

    lease: RunLease
    begins: Begins

    def _with_connection(self, functor: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.lease.ensure()
        return super()._with_connection(functor, *args, **kwargs)

    def set_atom_state(self, atom_name: str, state: str) -> None:
        """Set the state of a step. What is undone would be lost to whoever has the run."""
        if state == states.REVERTING:
            self.lease.ensure(ask=True)
        super().set_atom_state(atom_name, state)

    def _save_atom_detail(
        self, connection: Any, original: models.AtomDetail, changed: models.AtomDetail
    ) -> models.AtomDetail:
        """Save an atom; with it what the volumes come to."""
        new = changed.state != original.state
        steps = self.begins(changed.name, changed.state) if new else None
        together = _Together(connection, steps) if steps else connection
        return super()._save_atom_detail(together, original, changed)

    def set_task_progress(
        self, task_name: str, progress: float, details: dict[str, Any] | None = None
    ) -> None:
        """Keep nothing."""

    def set_flow_state(self, state: str) -> None:
        """Set the state; one that is only passed through is saved together with the next."""
        if (self.get_flow_state(), state) in _PASSING:
            self._flowdetail.state = state
        else:
            super().set_flow_state(state)


@dataclass(frozen=True)
class _Together:
    """In the place of a connection: saves items with an atom."""

    connection: Any
    steps: ItemSteps

    def update_atom_details(self, atom: models.AtomDetail) -> models.AtomDetail:
        self.connection.update_atom(atom, self.steps)
        return atom


@overrides("taskflow", own=("_scopes",))
class _Saving(engine.ActionEngine):
    lease: RunLease
    begins: Begins

    @misc.cachedproperty
    def storage(self) -> _Storage:
        """What the engine knows of its flow."""
        found = _Storage(self._flow_detail, backend=self._backend, scope_fetcher=self._scopes)
        found.lease, found.begins = self.lease, self.begins
        return found

    def _scopes(self, atom_name: str) -> Any:
        return self._runtime.fetch_scopes_for(atom_name) if self._compiled else None


class _Serial(_Saving, engine.SerialActionEngine):
    pass


class _Parallel(_Saving, engine.ParallelActionEngine):
    pass


def load(
    flow: graph_flow.Flow,
    detail: models.FlowDetail,
    state: State,
    workers: Executor | None,
    lease: RunLease,
    begins: Begins,
) -> engine.ActionEngine:
    """An engine for a flow.

    TaskFlow's own way looks for engines among all that is installed, which takes longer than the
    flow itself.

    :param detail: where the state of the flow is kept, and found when it was begun already
    :param workers: what runs several steps at a time; the caller's own thread runs one after the
        other where there is none
    :param lease: the right to drive the run
    :param begins: tells what is to be saved of the run's items with an atom that comes to a state;
        asked again when a save has failed and is tried again
    """
    options: dict[str, Any] = {"gather_statistics": False}
    found: _Saving
    if workers is None:
        found = _Serial(flow, detail, state.taskflow, options)
    else:
        found = _Parallel(flow, detail, state.taskflow, options | {"executor": workers})
    found.lease, found.begins = lease, begins
    return found
