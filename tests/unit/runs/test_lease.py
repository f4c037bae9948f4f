"""The lease of a run: nothing delays its renewals, and a process that lost it stops."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from taskflow import states, task
from taskflow.patterns import graph_flow, linear_flow
from taskflow.persistence import models
from taskflow.retry import AlwaysRevert

from persistence import Held, Lease, Leases, State, StateError
from tests.support.waiting import LIMIT, until
from volflow.errors import DrivenError
from volflow.host.identity import Process
from volflow.runs.engine import load
from volflow.runs.lease import RunLease, driving, is_driven

OTHER = "other-host 0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f 4711 1"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


class Clock:
    """The clock of a process. It stands still, unless a test sets it.

    :ivar reads: how often it was read
    """

    def __init__(self) -> None:
        self.now, self.reads = 1000.0, 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now

    def has_been_read(self, times: int = 10) -> None:
        """Wait until the clock has been read this many more times."""
        enough = self.reads + times
        until(lambda: self.reads >= enough)


class Renewals(Leases):
    """Leases that count renewals, and call a function before each renewal."""

    def __init__(self, state: State, before: Callable[[], None] = lambda: None) -> None:
        super().__init__(state.leases._database)
        self.count, self._before = 0, before

    def renew(self, lease: Lease) -> Lease:
        self.count += 1
        self._before()
        return super().renew(lease)

    def happen(self, times: int = 5) -> None:
        """Wait until this many more renewals have begun."""
        enough = self.count + times
        until(lambda: self.count >= enough)


def drive(
    leases: Leases,
    *,
    lost: Callable[[], None],
    beats: Sequence[tuple[float, Callable[[], None]]] = (),
    clock: Clock | None = None,
) -> AbstractContextManager[RunLease]:
    return driving(
        leases,
        "r",
        beats=beats,
        lost=lost,
        every=0.02,
        patience=0.1,
        clock=clock or Clock(),
    )


def length(hold: RunLease) -> float:
    """The duration of a lease in seconds."""
    return hold._lease.seconds


def take(state: State) -> None:
    """Take the lease, as another process does when it has expired."""
    holder = state.leases.holder("run r")
    if holder is not None:
        state.leases.release(holder)
    state.leases.acquire("run r", OTHER, 60)


def test_a_hanging_beat_delays_no_renewal(state: State) -> None:
    hanging, going, lost = threading.Event(), threading.Event(), threading.Event()

    def hang() -> None:
        hanging.set()
        going.wait(LIMIT)

    leases = Renewals(state)
    try:
        with drive(leases, beats=[(0.01, hang)], lost=lost.set):
            until(hanging.is_set)
            first = state.leases.holder("run r")
            assert first is not None
            leases.happen()
            renewed = state.leases.holder("run r")
            assert renewed is not None
            assert renewed.until > first.until
            with pytest.raises(Held):
                state.leases.acquire("run r", OTHER, 60)
    finally:
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

    leases = Renewals(state, lambda: fail(renewals))
    with drive(leases, beats=[(0.01, lambda: fail(beats))], lost=pytest.fail):
        until(lambda: renewals[0] > 3 and beats[0] > 3)
        with pytest.raises(Held):
            state.leases.acquire("run r", OTHER, 60)
    assert caplog.text.count("RuntimeError: a bug") == 4


def fails() -> None:
    raise StateError("the database is gone")


going = threading.Event()


def hangs() -> None:
    going.wait(LIMIT)


@pytest.mark.parametrize("trouble", [fails, hangs])
def test_who_cannot_renew_stops_before_the_lease_runs_out(
    state: State, caplog: pytest.LogCaptureFixture, trouble: Callable[[], None]
) -> None:
    lost, clock = threading.Event(), Clock()
    going.clear()
    try:
        with drive(Renewals(state, trouble), lost=lost.set, clock=clock) as hold:
            clock.now += length(hold) / 2
            clock.has_been_read()
            assert not lost.is_set()
            clock.now += length(hold) * 0.4
            until(lost.is_set)
            going.set()
            assert "could not be renewed for too long" in caplog.text
            if trouble is fails:
                with pytest.raises(StateError, match="the database is gone"):
                    hold.ensure()
    finally:
        going.set()


def test_nobody_can_have_taken_a_lease_that_was_just_renewed(state: State) -> None:
    hold = RunLease(Renewals(state, fails), "r", clock=Clock())
    hold.ensure()
    # So a run survives the restart of a database server.
    hold.ensure(ask=True)


def test_who_has_lost_the_lease_learns_once_who_has_it(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    leases = Renewals(state)
    with drive(leases, lost=lambda: calls.append(1)) as hold:
        take(state)
        until(lambda: bool(calls))
        leases.happen()
        assert calls == [1]
        with pytest.raises(DrivenError, match="Process 4711 on host other-host has taken run r"):
            hold.ensure()
    assert "Nothing was undone here" in caplog.text
    holder = state.leases.holder("run r")
    assert holder is not None
    assert holder.owner == OTHER


def test_a_process_whose_clock_stood_still_asks_the_database(state: State) -> None:
    hold = RunLease(state.leases, "r", clock=Clock())
    take(state)
    # The clock does not show that the process was stopped.
    hold.ensure()
    with pytest.raises(DrivenError):
        hold.ensure(ask=True)


def test_a_lease_that_nobody_took_is_reliable_after_it_is_renewed(state: State) -> None:
    clock = Clock()
    hold = RunLease(state.leases, "r", clock=clock)
    clock.now += length(hold)
    assert not hold.reliable
    hold.ensure()
    assert hold.reliable


def test_another_thread_of_this_process_counts_as_another_process(state: State) -> None:
    RunLease(state.leases, "r")
    with pytest.raises(DrivenError, match="is being driven by process"):
        RunLease(state.leases, "r")


def test_a_run_of_a_dead_process_of_this_host_is_free_at_once(state: State) -> None:
    ended = replace(Process.current(), started="1")
    state.leases.acquire("run r", f"{ended} 0badcafe", 60)
    assert not is_driven(state.leases, "r")
    RunLease(state.leases, "r").ensure(ask=True)


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"host": "other-host", "machine": "0" * 32, "boot": "0f0f0f0f"},
        {"boot": "0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f"},
        {"pid_namespace": "4:1"},
        {"machine": "", "pid_namespace": ""},
    ],
    ids=["another host", "a cloned host", "a container", "release 0.1.0"],
)
def test_a_run_of_a_process_that_nobody_can_prove_dead_is_free_when_its_lease_runs_out(
    state: State, elsewhere: dict[str, str]
) -> None:
    owner = replace(Process.current(), pid=4711, started="1", **elsewhere)
    text = f"{owner.host} {owner.boot} 4711 1" if "machine" in elsewhere else str(owner)
    given = state.leases.acquire("run r", f"{text} 0badcafe", 60)
    assert is_driven(state.leases, "r")
    message = rf"process 4711 on host {owner.host}\. .* the run is free at {given.until:%H:%M:%S}"
    with pytest.raises(DrivenError, match=message):
        RunLease(state.leases, "r")
    state.leases.acquire("run r", f"{text} 0badcafe", 1e-6)
    assert not is_driven(state.leases, "r")
    RunLease(state.leases, "r").ensure(ask=True)


class Failing(task.Task):
    """A step that is delayed, and fails because another process has taken the run."""

    def __init__(self, hold_up: Callable[[], None]) -> None:
        super().__init__("failing")
        self._hold_up = hold_up

    def execute(self) -> None:
        self._hold_up()
        raise OSError(5, "Input/output error")


class Undone(task.Task):
    """A step that would delete, in its revert, what the other process works with."""

    def __init__(self) -> None:
        super().__init__("undone")
        self.reverted = False

    def execute(self) -> None:
        """Do nothing."""

    def revert(self, *args: object, **kwargs: object) -> None:
        self.reverted = True


@pytest.mark.parametrize(
    ("lengths", "left"),
    [
        pytest.param(1.0, states.RUNNING, id="delayed"),
        # As in a virtual machine that was stopped.
        pytest.param(0.0, states.FAILURE, id="delayed, and its clock stopped"),
    ],
)
def test_a_flow_whose_run_was_taken_undoes_nothing(state: State, lengths: float, left: str) -> None:
    book, detail = models.LogBook("book"), models.FlowDetail("flow", "flow-1")
    book.add(detail)
    state.taskflow.get_connection().save_logbook(book)
    clock, undone = Clock(), Undone()
    hold = RunLease(state.leases, "r", clock=clock)

    def hold_up() -> None:
        clock.now += lengths * length(hold)
        take(state)

    steps = (undone, Failing(hold_up))
    inner = linear_flow.Flow("volume", retry=AlwaysRevert("retry")).add(*steps)
    flow = graph_flow.Flow("flow").add(inner)
    engine = load(flow, detail, state, None, hold, lambda *_: None)
    with pytest.raises(DrivenError):
        engine.run()
    assert not undone.reverted
    (stored,) = state.taskflow.get_connection().get_logbook(book.uuid)
    atoms = {atom.name: atom.state for atom in stored}
    assert (atoms["undone"], atoms["failing"]) == (states.SUCCESS, left)
