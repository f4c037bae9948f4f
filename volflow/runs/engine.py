"""TaskFlow's engines, without saves that volflow does not need."""

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

#: What to save of the run's items with an atom and its new state; None for nothing.
Begins = Callable[[str, str], ItemSteps | None]

# Changes of a flow's state that need no save of their own.
_PASSING = {(states.PENDING, states.RESUMING), (states.RESUMING, states.SUSPENDED)}


@overrides("taskflow")
class _Storage(Storage):
    """The state of a flow, which its engine reads and saves.

    It saves a step before it runs and after, which is all that a resume needs. volflow stores the
    progress of a step itself: TaskFlow would save 0 or 100 % with each change of a step's state.

    The beginning of a step is saved together with what it means for the volumes.

    Before each save it makes sure that this process still holds the lease of the run. No step is
    begun or undone without a save, so a process that has lost its run does neither.
    """

    lease: RunLease
    begins: Begins

    def _with_connection(self, functor: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.lease.ensure()
        return super()._with_connection(functor, *args, **kwargs)

    def set_atom_state(self, atom_name: str, state: str) -> None:
        """Set the state of a step. Undoing would harm the process that has taken the run."""
        if state == states.REVERTING:
            self.lease.ensure(ask=True)
        super().set_atom_state(atom_name, state)

    def _save_atom_detail(
        self, connection: Any, original: models.AtomDetail, changed: models.AtomDetail
    ) -> models.AtomDetail:
        """Save an atom, together with what its new state means for the volumes."""
        new = changed.state != original.state
        steps = self.begins(changed.name, changed.state) if new else None
        together = _Together(connection, steps) if steps else connection
        return super()._save_atom_detail(together, original, changed)

    def set_task_progress(
        self, task_name: str, progress: float, details: dict[str, Any] | None = None
    ) -> None:
        """Save nothing."""

    def set_flow_state(self, state: str) -> None:
        """Set the state; an intermediate one is saved together with the next."""
        if (self.get_flow_state(), state) in _PASSING:
            self._flowdetail.state = state
        else:
            super().set_flow_state(state)


@dataclass(frozen=True)
class _Together:
    """Used instead of a connection: saves items together with an atom."""

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
        """The state of the flow."""
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

    TaskFlow's own loader searches all installed packages for engines, which takes longer than the
    flow itself.

    :param detail: the stored state of the flow, which may have begun
    :param workers: runs several steps in parallel; without it, the caller's thread runs one after
        the other
    :param lease: the right to drive the run
    :param begins: returns what to save of the run's items with the new state of an atom; called
        again when a save has failed and is repeated
    """
    options: dict[str, Any] = {"gather_statistics": False}
    found: _Saving
    if workers is None:
        found = _Serial(flow, detail, state.taskflow, options)
    else:
        found = _Parallel(flow, detail, state.taskflow, options | {"executor": workers})
    found.lease, found.begins = lease, begins
    return found
