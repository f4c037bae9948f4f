"""What another process can read about a volume's flow at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from taskflow import states, task
from taskflow.patterns import graph_flow, linear_flow
from taskflow.persistence import models

from persistence import ItemSteps, State
from volflow.errors import DrivenError
from volflow.runs import engine
from volflow.runs.lease import RunLease

# Another process that holds the lease of the run.
OTHER = "other boot 1 2 3"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


class Look(task.Task):
    """Records, while it runs, what is stored of the flow and the volume."""

    def __init__(self, name: str, state: State, seen: list[dict[str, str]]) -> None:
        super().__init__(name)
        self._state = state
        self._seen = seen

    def execute(self) -> None:
        self._seen.append(stored(self._state))
        assert self._state.runs.item("run-id", "volume").step == f"{states.RUNNING} {self.name}"

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self._seen.append(stored(self._state))
        assert self._state.runs.item("run-id", "volume").step == f"{states.REVERTING} {self.name}"


def lose_the_lease(state: State) -> None:
    """Another process takes the run, as it can when this one was delayed for long."""
    holder = state.leases.holder("run run-id")
    assert holder is not None
    state.leases.release(holder)
    state.leases.acquire("run run-id", OTHER, 60)


def is_lost(state: State) -> bool:
    holder = state.leases.holder("run run-id")
    return holder is not None and holder.owner == OTHER


class Lose(Look):
    """Loses the run during its work."""

    def execute(self) -> None:
        super().execute()
        lose_the_lease(self._state)


class LoseAndFail(Lose):
    """Loses the run and fails."""

    def execute(self) -> None:
        super().execute()
        raise OSError


class Fail(Look):
    """Records what is stored, then fails."""

    def execute(self) -> None:
        super().execute()
        raise OSError


def begins(atom: str, to: str) -> ItemSteps | None:
    """The step to store for the volume when an atom changes to this state."""
    if to not in (states.RUNNING, states.REVERTING):
        return None
    return ItemSteps("run-id", {"volume": {"step": f"{to} {atom}", "result": {}}})


def stored(state: State) -> dict[str, str]:
    """The states of all atoms in the database."""
    flow = state.taskflow.get_connection().get_flow_details("flow-id")
    return {atom.name: atom.state for atom in flow}


def begin(
    state: State,
    seen: list[dict[str, str]],
    last: type[Look] = Look,
    second: type[Look] = Look,
    workers: Executor | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Any:
    detail = models.FlowDetail("flow", "flow-id")
    book = models.LogBook("book", "book-id")
    book.add(detail)
    state.taskflow.get_connection().save_logbook(book)
    flow = graph_flow.Flow("flow")
    steps = [Look("a", state, seen), second("b", state, seen), last("c", state, seen)]
    flow.add(linear_flow.Flow("steps").add(*steps))
    things = [("volume", "name")]
    state.runs.create("backup", {}, things, host="", boot_id="", pid=1, run_id="run-id")
    hold = RunLease(state.leases, "run-id", clock=clock)
    found = engine.load(flow, detail, state, workers, hold, begins)
    found.compile()
    found.prepare()
    return found


def test_a_step_is_saved_before_the_next_one_works(state: State) -> None:
    seen: list[dict[str, str]] = []
    begin(state, seen).run()
    done, now, later = states.SUCCESS, states.RUNNING, states.PENDING
    assert seen == [
        {"a": now, "b": later, "c": later},
        {"a": done, "b": now, "c": later},
        {"a": done, "b": done, "c": now},
    ]
    assert set(stored(state).values()) == {done}


def test_a_step_is_saved_before_the_one_before_it_is_undone(state: State) -> None:
    seen: list[dict[str, str]] = []
    with pytest.raises(OSError):
        begin(state, seen, Fail).run()
    done, failed = states.SUCCESS, states.FAILURE
    undoing, undone = states.REVERTING, states.REVERTED
    assert seen[3:] == [
        {"a": done, "b": done, "c": undoing},
        {"a": done, "b": undoing, "c": undone},
        {"a": undoing, "b": undone, "c": undone},
    ]
    assert failed not in stored(state).values()


def test_a_success_is_saved_at_once(state: State) -> None:
    storage = begin(state, []).storage
    storage.set_atom_state("a", states.RUNNING)
    storage.save("a", None, states.SUCCESS)
    assert stored(state)["a"] == states.SUCCESS


def test_a_step_is_saved_when_the_flow_is_suspended(state: State) -> None:
    seen: list[dict[str, str]] = []
    transitions = begin(state, seen).run_iter()
    next(transitions)
    with suppress(StopIteration):
        while True:
            transitions.send(bool(seen) or None)
    assert len(seen) == 1
    assert stored(state) == {"a": states.SUCCESS, "b": states.PENDING, "c": states.PENDING}
    flow = state.taskflow.get_connection().get_flow_details("flow-id")
    assert flow.state == states.SUSPENDED


@pytest.mark.parametrize("threads", [0, 1])
def test_a_lost_lease_blocks_a_save_and_the_next_step(state: State, threads: int) -> None:
    seen: list[dict[str, str]] = []
    with ThreadPoolExecutor(1) as pool:
        # No query is needed while no other process can have taken the run since the last renewal.
        found = begin(
            state,
            seen,
            second=Lose,
            workers=pool if threads else None,
            clock=lambda: 50.0 * is_lost(state),
        )
        before = [{"a": states.RUNNING, "b": states.PENDING, "c": states.PENDING}]
        with pytest.raises(DrivenError, match="has taken run run-id"):
            found.run()
    assert seen == [*before, {"a": states.SUCCESS, "b": states.RUNNING, "c": states.PENDING}]
    assert stored(state) == seen[-1]
    assert state.runs.item("run-id", "volume").step == f"{states.RUNNING} b"


def test_a_lost_lease_keeps_a_step_from_being_undone(state: State) -> None:
    """Before it undoes a step, the engine asks the database, even just after a renewal."""
    seen: list[dict[str, str]] = []
    with pytest.raises(DrivenError, match="has taken run run-id"):
        begin(state, seen, last=LoseAndFail).run()
    assert [one["c"] for one in seen] == [states.PENDING, states.PENDING, states.RUNNING]
    assert states.REVERTING not in stored(state).values()
