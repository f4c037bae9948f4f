"""Driving a run: the lease is kept, whatever else waits, and who has lost it knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from taskflow import states, task
from taskflow.patterns import graph_flow, linear_flow
from taskflow.persistence import models
from taskflow.retry import AlwaysRevert

from persistence import Held, Lease, Leases, State, StateError
from volflow.errors import DrivenError
from volflow.runs import lease as heartbeat
from volflow.runs.engine import load
from volflow.runs.lease import RunLease, driving

# Seconds that a lease lasts here.
LENGTH = 1.5
OTHER = "other-host 0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f 4711 1"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "_SECONDS", LENGTH)
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "_PATIENCE", 0.1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


class Troubled:
    """Leases whose renewal does something else before it renews."""

    def __init__(self, leases: Leases, trouble: Callable[[], None]) -> None:
        self._leases, self._trouble = leases, trouble
        self.acquire, self.release, self.holder = leases.acquire, leases.release, leases.holder

    def renew(self, lease: Lease) -> Lease:
        self._trouble()
        return self._leases.renew(lease)


def take(state: State) -> None:
    """What another process does when the lease has run out."""
    holder = state.leases.holder("run r")
    if holder is not None:
        state.leases.release(holder)
    state.leases.acquire("run r", OTHER, 60)


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_what_hangs_beside_it_holds_up_no_renewal(state: State) -> None:
    hanging, going, lost = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        going.wait(10)

    beats = [(0.01, hang)]
    with driving(state.leases, "r", beats=beats, lost=lost.set):
        assert hanging.wait(10)
        time.sleep(2 * LENGTH)
        with pytest.raises(Held):
            state.leases.acquire("run r", OTHER, 60)
    going.set()
    assert not lost.is_set()
    assert state.leases.holder("run r") is None


def test_no_failure_ends_the_renewal_or_a_beat(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    renewals, beats = [0], [0]

    def fail(counted: list[int]) -> None:
        counted[0] += 1
        if counted[0] < 3:
            raise RuntimeError("a bug")

    leases = Troubled(state.leases, lambda: fail(renewals))
    with driving(leases, "r", beats=[(0.01, lambda: fail(beats))], lost=pytest.fail):  # type: ignore[arg-type]
        time.sleep(2 * LENGTH)
        with pytest.raises(Held):
            state.leases.acquire("run r", OTHER, 60)
    assert renewals[0] > 3
    assert beats[0] > 3
    assert caplog.text.count("RuntimeError: a bug") == 4


def fails() -> None:
    raise StateError("the database is gone")


going = threading.Event()


def hangs() -> None:
    going.wait(30)


@pytest.mark.parametrize("trouble", [fails, hangs])
def test_who_cannot_renew_stops_before_it_runs_out(
    state: State, caplog: pytest.LogCaptureFixture, trouble: Callable[[], None]
) -> None:
    lost = threading.Event()
    going.clear()
    began = time.monotonic()
    leases = Troubled(state.leases, trouble)
    with driving(leases, "r", beats=[], lost=lost.set) as hold:  # type: ignore[arg-type]
        assert lost.wait(10)
        assert time.monotonic() - began > LENGTH / 2
        going.set()
        assert "could not be renewed for too long" in caplog.text
        if trouble is fails:
            with pytest.raises(StateError, match="the database is gone"):
                hold.ensure()


def test_nobody_can_have_taken_what_was_renewed_just_now(state: State) -> None:
    hold = RunLease(Troubled(state.leases, fails), "r")  # type: ignore[arg-type]
    hold.ensure()
    # Through the restart of a database server.
    hold.ensure(ask=True)


def test_who_has_lost_it_is_told_once_and_by_whom(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    with driving(state.leases, "r", beats=[], lost=lambda: told.append(1)) as hold:
        take(state)
        until(lambda: bool(told))
        time.sleep(4 * heartbeat.BEAT)
        assert told == [1]
        with pytest.raises(DrivenError, match="Process 4711 on host other-host has taken run r"):
            hold.ensure()
    assert "Nothing was undone here" in caplog.text
    holder = state.leases.holder("run r")
    assert holder is not None
    assert holder.owner == OTHER


def test_what_was_held_up_asks_before_it_goes_on(state: State) -> None:
    hold = RunLease(state.leases, "r")
    take(state)
    # Its clock tells nothing, if it stood still.
    hold.ensure()
    with pytest.raises(DrivenError):
        hold.ensure(ask=True)
    other = RunLease(state.leases, "s")
    time.sleep(LENGTH)
    other.ensure()
    assert other.reliable


def test_another_thread_of_this_process_is_another_one(state: State) -> None:
    RunLease(state.leases, "r")
    with pytest.raises(DrivenError, match="is being driven by process"):
        RunLease(state.leases, "r")


class Failing(task.Task):
    """A step that is held up, and fails since another process has taken the run."""

    def __init__(self, state: State, seconds: float) -> None:
        super().__init__("failing")
        self._state, self._seconds = state, seconds

    def execute(self) -> None:
        time.sleep(self._seconds)
        take(self._state)
        raise OSError(5, "Input/output error")


class Undone(task.Task):
    """A step whose revert would delete what the other process works with."""

    def __init__(self) -> None:
        super().__init__("undone")
        self.reverted = False

    def execute(self) -> None:
        """Make it."""

    def revert(self, *args: object, **kwargs: object) -> None:
        self.reverted = True


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        pytest.param(LENGTH, states.RUNNING, id="held up"),
        # As it is in a virtual machine that was stopped.
        pytest.param(0.0, states.FAILURE, id="held up, and its clock too"),
    ],
)
def test_a_flow_whose_run_was_taken_undoes_nothing(state: State, seconds: float, left: str) -> None:
    book, detail = models.LogBook("book"), models.FlowDetail("flow", "flow-1")
    book.add(detail)
    state.taskflow.get_connection().save_logbook(book)
    undone = Undone()
    steps = (undone, Failing(state, seconds))
    inner = linear_flow.Flow("volume", retry=AlwaysRevert("retry")).add(*steps)
    hold = RunLease(state.leases, "r")
    flow = graph_flow.Flow("flow").add(inner)
    engine = load(flow, detail, state, None, hold, lambda *_: None)
    with pytest.raises(DrivenError):
        engine.run()
    assert not undone.reverted
    (stored,) = state.taskflow.get_connection().get_logbook(book.uuid)
    atoms = {atom.name: atom.state for atom in stored}
    assert (atoms["undone"], atoms["failing"]) == (states.SUCCESS, left)
