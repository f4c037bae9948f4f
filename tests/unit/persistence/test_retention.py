"""The state database forgets runs that ended long ago, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from taskflow.persistence import models

from persistence import NotFound, Run, RunState, State

NewRun = Callable[..., Run]

NOW = datetime.now(UTC)
DAYS = timedelta(days=1)


def _ended(state: State, run: Run, days: float, outcome: RunState = RunState.COMPLETE) -> Run:
    """Record a run that ended this long ago, with a logbook and a removed entry in the ledger."""
    book = models.LogBook(f"run {run.id}", f"book-{run.id}")
    flow = models.FlowDetail("flow", f"flow-{run.id}")
    flow.add(models.TaskDetail("task", f"task-{run.id}"))
    book.add(flow)
    state.taskflow.get_connection().save_logbook(book)
    state.ledger.intend(f"{run.id}/a/volume", run_id=run.id, item="a", kind="volume")
    state.ledger.gone(f"{run.id}/a/volume")
    return state.runs.update(
        run.id, state=outcome, finished_at=NOW - days * DAYS, logbook_id=book.uuid
    )


def _rows(state: State) -> dict[str, int]:
    tables = ("run", "run_item", "ledger", "logbooks", "flowdetails", "atomdetails")
    with state._database.read() as reading:
        return {
            table: int(reading.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
            for table in tables
        }


def test_all_of_an_old_run_is_forgotten(state: State, new_run: NewRun) -> None:
    kept = _ended(state, new_run("a", "b"), days=1)
    one = _rows(state)
    outcomes = [one for one in RunState if one.final]
    old = [_ended(state, new_run("a", "b"), 10 + n, one) for n, one in enumerate(outcomes)]
    found = state.retention.forget(NOW - 5 * DAYS, most=100)
    assert found == [run.id for run in reversed(old)]
    assert _rows(state) == one
    assert state.runs.list() == [kept]
    for run in old:
        with pytest.raises(NotFound):
            state.runs.get(run.id)
    assert state.retention.forget(NOW - 5 * DAYS, most=100) == []


def test_so_many_at_a_time(state: State, new_run: NewRun) -> None:
    old = [_ended(state, new_run("a"), days=days) for days in (30, 20, 10)]
    assert state.retention.forget(NOW, most=2) == [run.id for run in old[:2]]
    assert state.retention.forget(NOW, most=2) == [old[2].id]


@pytest.mark.parametrize("unfinished", [one for one in RunState if not one.final])
def test_what_can_go_on_is_kept(state: State, new_run: NewRun, unfinished: RunState) -> None:
    run = _ended(state, new_run("a"), days=100)
    state.runs.update(run.id, state=unfinished, finished_at=NOW - 100 * DAYS)
    before = _rows(state)
    assert state.retention.forget(NOW, most=100) == []
    assert _rows(state) == before


@pytest.mark.parametrize("there", ["intended", "present", "left over"])
def test_a_run_of_which_something_is_there_is_kept(
    state: State, new_run: NewRun, there: str
) -> None:
    run, tag = _ended(state, new_run("a"), days=100), "something"
    state.ledger.intend(tag, run_id=run.id, item="a", kind="volume")
    if there == "present":
        state.ledger.present(tag, "id")
    if there == "left over":
        state.ledger.leftover(tag, "busy")
    before = _rows(state)
    assert state.retention.forget(NOW, most=100) == []
    assert _rows(state) == before
    state.ledger.gone(tag)
    assert state.retention.forget(NOW, most=100) == [run.id]
    assert set(_rows(state).values()) == {0}


def test_a_run_without_a_logbook(state: State, new_run: NewRun) -> None:
    run = new_run("a")
    state.runs.update(run.id, state=RunState.FAILED, finished_at=NOW - 2 * DAYS)
    assert state.retention.forget(NOW - DAYS, most=1) == [run.id]
    assert set(_rows(state).values()) == {0}
