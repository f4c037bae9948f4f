"""A lease has at most one owner at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from persistence import Held, Lease, State
from tests.support.waiting import LIMIT, until


def now(state: State) -> datetime:
    """The time of the clock that leases use."""
    with state._database.read() as connection:
        return state._database.now(connection)


def run_out(state: State) -> Lease:
    """A lease that has expired."""
    lease = state.leases.acquire("run", "one", 0.05)
    until(lambda: now(state) >= lease.until)
    return lease


def test_a_lease_has_only_one_owner(state: State) -> None:
    lease = state.leases.acquire("run", "one", 60)
    assert state.leases.holder("run") == lease
    with pytest.raises(Held) as caught:
        state.leases.acquire("run", "two", 60)
    assert (caught.value.owner, caught.value.until) == ("one", lease.until)
    assert "'one'" in str(caught.value)
    assert state.leases.acquire("another run", "two", 60).owner == "two"


def test_the_same_owner_extends_its_lease(state: State) -> None:
    first = state.leases.acquire("run", "one", 10)
    second = state.leases.acquire("run", "one", 60)
    assert (second.until - first.until).total_seconds() > 40
    assert state.leases.holder("run") == second


def test_a_renewed_lease_lasts_its_length_from_then_on(state: State) -> None:
    lease = state.leases.acquire("run", "one", 60)
    until(lambda: now(state) + timedelta(seconds=60) > lease.until)
    before = now(state)
    renewed = state.leases.renew(lease)
    assert before <= renewed.until - timedelta(seconds=60) <= now(state)
    assert renewed.until > lease.until
    assert state.leases.holder("run") == renewed


def test_only_the_owner_can_release_a_lease(state: State) -> None:
    lease = state.leases.acquire("run", "one", 60)
    state.leases.release(lease)
    assert state.leases.holder("run") is None
    state.leases.acquire("run", "two", 60)
    state.leases.release(lease)
    held = state.leases.holder("run")
    assert held is not None
    assert held.owner == "two", "the old owner cannot release what is no longer its own"


def test_a_lease_that_ran_out_can_be_taken_and_is_then_lost(state: State) -> None:
    lease = run_out(state)
    assert state.leases.holder("run") is None
    taken = state.leases.acquire("run", "two", 60)
    with pytest.raises(Held) as caught:
        state.leases.renew(lease)
    assert caught.value.owner == "two"
    state.leases.release(taken)
    with pytest.raises(Held) as caught:
        state.leases.renew(lease)
    assert caught.value.owner is None
    assert "lost" in str(caught.value)


def test_a_lease_that_ran_out_and_nobody_took_is_renewed(state: State) -> None:
    lease = replace(run_out(state), seconds=60)
    assert isinstance(state.leases.renew(lease), Lease)
    with pytest.raises(Held):
        state.leases.acquire("run", "two", 60)


def test_a_lease_must_last_some_time(state: State) -> None:
    for seconds in (0, -1):
        with pytest.raises(ValueError):
            state.leases.acquire("run", "one", seconds)
    assert state.leases.holder("run") is None


def test_of_several_processes_exactly_one_wins(
    url: str, spawn: Callable[..., Any], state: State
) -> None:
    rounds = 50
    processes = [spawn("fight_for_lease", url, f"owner {n}", rounds) for n in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [process.communicate(timeout=LIMIT)[0].split() for process in processes]
    assert sorted(int(number) for numbers in won for number in numbers) == list(range(rounds))


def test_a_lease_excludes_other_processes(
    url: str, spawn: Callable[..., Any], tmp_path: Path
) -> None:
    """Processes that count in one file at the same time would lose counts."""
    path, rounds = tmp_path / "count", 25
    path.write_text("0")
    processes = [spawn("count_under_lease", url, f"o{n}", path, rounds) for n in range(3)]
    for process in processes:
        output = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, output
    assert int(path.read_text()) == 3 * rounds
