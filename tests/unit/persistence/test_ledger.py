"""The ledger of temporary resources."""

from __future__ import annotations

import threading

import pytest

from persistence import Entry, EntryState, NotFound, State


def intend(state: State, tag: str, run_id: str = "r", item: str = "i") -> Entry:
    return state.ledger.intend(tag, run_id=run_id, item=item, kind="snapshot", details={"a": 1})


def found(state: State, tag: str) -> Entry:
    entry = state.ledger.find(tag)
    assert entry is not None
    return entry


def test_the_way_of_an_entry(state: State) -> None:
    entry = intend(state, "t")
    assert (entry.tag, entry.run_id, entry.item, entry.kind) == ("t", "r", "i", "snapshot")
    assert (entry.state, entry.resource_id, entry.details) == (EntryState.INTENDED, None, {"a": 1})
    assert state.ledger.find("t") == entry
    state.ledger.present("t", "id")
    there = found(state, "t")
    assert (there.state, there.resource_id) == (EntryState.PRESENT, "id")
    assert there.created_at == entry.created_at
    assert there.updated_at > entry.updated_at
    state.ledger.leftover("t", "volume is busy")
    left = found(state, "t")
    assert (left.state, left.reason, left.resource_id) == (
        EntryState.LEFTOVER,
        "volume is busy",
        "id",
    )
    assert state.ledger.leftovers() == [left]
    state.ledger.gone("t")
    gone = found(state, "t")
    assert (gone.state, gone.reason) == (EntryState.GONE, None)
    assert state.ledger.open() == []
    assert state.ledger.leftovers() == []


def test_leftovers_of_some_items(state: State) -> None:
    for run_id in ("r", "s"):
        for item in ("a", "b", "c"):
            intend(state, f"{run_id}/{item}", run_id, item)
            state.ledger.leftover(f"{run_id}/{item}", "busy")
    intend(state, "r/a/2", "r", "a")
    found = state.ledger.leftovers("r", ["a", "c"])
    assert [entry.tag for entry in found] == ["r/c", "r/a"]
    assert state.ledger.leftovers("r", []) == []


def test_every_operation_may_be_done_twice(state: State) -> None:
    first = intend(state, "t")
    assert intend(state, "t") == first
    state.ledger.present("t", "id")
    there = intend(state, "t")
    assert (there.state, there.resource_id) == (EntryState.PRESENT, "id")
    state.ledger.present("t", "id")
    assert found(state, "t").resource_id == "id"
    state.ledger.leftover("t", "one")
    assert intend(state, "t").state is EntryState.LEFTOVER
    state.ledger.leftover("t", "two")
    assert found(state, "t").reason == "two"
    state.ledger.gone("t")
    state.ledger.gone("t")
    state.ledger.gone("never heard of")
    assert state.ledger.find("never heard of") is None


def test_a_gone_entry_begins_anew_as_the_newest(state: State) -> None:
    intend(state, "a")
    state.ledger.present("a", "old id")
    intend(state, "b")
    state.ledger.gone("a")
    again = state.ledger.intend("a", run_id="r", item="i", kind="snapshot")
    assert (again.state, again.resource_id, again.details) == (EntryState.INTENDED, None, {})
    assert [entry.tag for entry in state.ledger.open()] == ["a", "b"]


def test_an_unknown_tag_is_an_error(state: State) -> None:
    with pytest.raises(NotFound):
        state.ledger.present("nothing", "id")
    with pytest.raises(NotFound):
        state.ledger.leftover("nothing", "why")
    assert state.ledger.find("nothing") is None


def test_open_is_newest_first_and_can_be_narrowed(state: State) -> None:
    for tag, run_id, item in (("1", "r", "x"), ("2", "r", "y"), ("3", "s", "x"), ("4", "r", "x")):
        intend(state, tag, run_id, item)
    state.ledger.gone("2")
    state.ledger.leftover("3", "why")
    state.ledger.leftover("1", "why")
    tags = [[entry.tag for entry in entries] for entries in (
        state.ledger.open(),
        state.ledger.open("r"),
        state.ledger.open(run_id="r", item="x"),
        state.ledger.open(item="x"),
        state.ledger.open("r", "y"),
        state.ledger.leftovers(),
        state.ledger.leftovers("s"),
    )]  # fmt: skip
    assert tags == [["4", "3", "1"], ["4", "1"], ["4", "1"], ["4", "3", "1"], [], ["3", "1"], ["3"]]


def test_threads_that_want_the_same_tags(state: State) -> None:
    """Ten threads do the same work in the same order; each tag ends as one entry."""
    problems: list[BaseException] = []
    barrier = threading.Barrier(10)

    def work() -> None:
        try:
            barrier.wait()
            for number in range(20):
                tag = f"t{number}"
                intend(state, tag)
                state.ledger.present(tag, "id")
                state.ledger.open("r")
                state.ledger.gone(tag)
                intend(state, tag)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert {entry.tag for entry in state.ledger.open()} == {f"t{number}" for number in range(20)}
    assert len(state.ledger.open()) == 20
