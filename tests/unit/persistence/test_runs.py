"""Runs and their items."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from persistence import Ambiguous, ItemState, NotFound, Run, RunState, State

NewRun = Callable[..., Run]


def test_a_run_is_as_it_was_asked_for(state: State) -> None:
    before = datetime.now(UTC)
    run = state.runs.create(
        "restore", {"at": None, "ids": ["a"]}, [("a", "x")], host="h", boot_id="b", pid=7
    )
    assert run == state.runs.get(run.id)
    assert (run.kind, run.state, run.request) == (
        "restore",
        RunState.RUNNING,
        {"at": None, "ids": ["a"]},
    )
    assert (run.host, run.boot_id, run.pid, run.logbook_id) == ("h", "b", 7, None)
    assert before <= run.created_at <= datetime.now(UTC)
    assert run.created_at.tzinfo is UTC
    assert run.created_at == run.updated_at
    assert run.finished_at is None


def test_items_keep_their_order_and_begin_pending(state: State, new_run: NewRun) -> None:
    run = new_run("c", "a", "b")
    items = state.runs.items(run.id)
    assert [(item.key, item.name, item.position) for item in items] == [
        ("c", "name of c", 0),
        ("a", "name of a", 1),
        ("b", "name of b", 2),
    ]
    assert {item.state for item in items} == {ItemState.PENDING}
    assert items[1] == state.runs.item(run.id, "a")
    assert items[1].result == {}


def test_a_run_can_have_a_thousand_items(state: State, new_run: NewRun) -> None:
    run = new_run(*(f"volume {number}" for number in range(1000)))
    assert len(state.runs.items(run.id)) == 1000


def test_a_run_that_cannot_be_made_leaves_nothing(state: State, new_run: NewRun) -> None:
    with pytest.raises(ValueError, match="same key"):
        new_run("a", "a")
    with pytest.raises(TypeError):
        state.runs.create("backup", {"bad": object()}, [], host="h", boot_id="b", pid=1)
    assert state.runs.list() == []
    new_run("a", run_id="mine")
    with pytest.raises(ValueError, match="already"):
        new_run("b", run_id="mine")
    assert [item.key for item in state.runs.items("mine")] == ["a"]


def test_a_run_without_items(state: State, new_run: NewRun) -> None:
    assert state.runs.items(new_run().id) == []


def test_a_run_is_found_by_an_unambiguous_prefix(state: State, new_run: NewRun) -> None:
    for run_id in ("abc", "abcd", "aBx", "a_c", "ab%"):
        new_run(run_id=run_id)
    assert state.runs.get("abcd").id == "abcd"
    assert state.runs.get("abc").id == "abc", "the whole id wins over longer ones"
    assert state.runs.get("aB").id == "aBx", "case matters"
    assert state.runs.get("a_").id == "a_c", "no wildcard"
    assert state.runs.get("ab%").id == "ab%"
    with pytest.raises(Ambiguous) as caught:
        state.runs.get("ab")
    assert set(caught.value.matches) == {"abc", "abcd", "ab%"}
    assert "abcd" in str(caught.value)
    for nothing in ("b", "abcde", ""):
        with pytest.raises(NotFound):
            state.runs.get(nothing)


def test_list_pages_newest_first(state: State, new_run: NewRun) -> None:
    made = [new_run(kind=kind).id for kind in ("backup", "restore", "backup", "backup")]
    newest_first = made[::-1]
    assert [run.id for run in state.runs.list()] == newest_first
    first = state.runs.list(limit=3)
    rest = state.runs.list(limit=3, marker=first[-1].id)
    assert [run.id for run in first + rest] == newest_first
    assert [run.id for run in state.runs.list(kind="restore")] == [made[1]]
    state.runs.update(made[0], state=RunState.FAILED)
    assert [run.id for run in state.runs.list(state=RunState.FAILED)] == [made[0]]
    assert state.runs.list(kind="restore", state=RunState.FAILED) == []
    with pytest.raises(NotFound):
        state.runs.list(marker="nothing")


def test_pages_do_not_lose_runs_of_one_moment(state: State, new_run: NewRun) -> None:
    made = {new_run().id for _ in range(6)}
    moment = datetime.now(UTC)
    from persistence import schema

    with state._database.write() as connection:
        connection.execute(schema.run.update().values(created_at=moment))
    seen: list[str] = []
    while page := state.runs.list(limit=2, marker=seen[-1] if seen else None):
        seen += [run.id for run in page]
    assert len(seen) == 6
    assert set(seen) == made


def test_an_update_changes_one_run_and_its_time(state: State, new_run: NewRun) -> None:
    run = new_run()
    other = new_run()
    changed = state.runs.update(run.id, state=RunState.SUSPENDED, pid=99, logbook_id="book")
    assert (changed.state, changed.pid, changed.logbook_id) == (RunState.SUSPENDED, 99, "book")
    assert changed.updated_at > run.updated_at
    assert changed.finished_at is None
    assert (run.stop, changed.stop) == (None, None)
    assert state.runs.update(run.id, stop="abort").stop == "abort"
    done = state.runs.update(run.id, state=RunState.PARTIAL)
    assert done.finished_at == done.updated_at
    again = state.runs.update(run.id, state=RunState.RUNNING)
    assert again.finished_at is None
    moment = datetime(2020, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2)))
    assert state.runs.update(run.id, finished_at=moment).finished_at == moment
    assert state.runs.get(other.id) == other


def test_an_update_changes_one_item_and_its_times(state: State, new_run: NewRun) -> None:
    run = new_run("a", "b")
    state.runs.update_item(run.id, "a", state=ItemState.RUNNING, step="attach", flow_id="f")
    item = state.runs.item(run.id, "a")
    assert (item.state, item.step, item.flow_id) == (ItemState.RUNNING, "attach", "f")
    assert item.started_at is not None
    assert item.finished_at is None
    state.runs.update_item(
        run.id, "a", state=ItemState.PARTIAL, result={"skipped": ["x\udcff"]}, error="bad\0\udcff"
    )
    done = state.runs.item(run.id, "a")
    assert done.started_at == item.started_at
    assert done.finished_at is not None
    assert done.finished_at >= item.started_at
    assert done.result == {"skipped": ["x\udcff"]}, "undecodable file names survive in JSON"
    assert done.error == "bad\\x00\\udcff", "and are readable in text"
    state.runs.update_item(run.id, "a", state=ItemState.RUNNING)
    again = state.runs.item(run.id, "a")
    assert again.started_at == item.started_at
    assert again.finished_at is None
    assert state.runs.item(run.id, "b").state is ItemState.PENDING
    assert state.runs.get(run.id).updated_at > run.updated_at


def test_several_items_change_together_or_not_at_all(state: State, new_run: NewRun) -> None:
    run = new_run("a", "b")
    state.runs.update_items(run.id, {"a": {"flow_id": "1"}, "b": {"flow_id": "2"}})
    assert [item.flow_id for item in state.runs.items(run.id)] == ["1", "2"]
    with pytest.raises(NotFound, match="nothing"):
        state.runs.update_items(run.id, {"a": {"flow_id": "3"}, "nothing": {"flow_id": "4"}})
    assert [item.flow_id for item in state.runs.items(run.id)] == ["1", "2"]


def test_an_unknown_field_is_an_error(state: State, new_run: NewRun) -> None:
    run = new_run("a")
    with pytest.raises(TypeError, match="colour"):
        state.runs.update(run.id, colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="position"):
        state.runs.update_item(run.id, "a", position=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="DONE"):
        state.runs.update(run.id, state="DONE")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="time zone"):
        state.runs.update(run.id, finished_at=datetime(2020, 1, 1))
    with pytest.raises(NotFound):
        state.runs.update("nothing", pid=1)
    with pytest.raises(NotFound):
        state.runs.update_item(run.id, "nothing", step="x")
    with pytest.raises(NotFound):
        state.runs.item("nothing", "a")
    assert state.runs.get(run.id) == run


def test_threads_update_items_at_once(state: State, new_run: NewRun) -> None:
    keys = [f"v{number}" for number in range(10)]
    run = new_run(*keys)
    problems: list[BaseException] = []

    def work(key: str) -> None:
        try:
            for number in range(30):
                state.runs.update_item(run.id, key, state=ItemState.RUNNING, step=str(number))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            problems.append(error)

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert {item.step for item in state.runs.items(run.id)} == {"29"}
