"""TaskFlow's persistence backend."""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from taskflow import engines, exceptions, states, task
from taskflow.patterns import linear_flow
from taskflow.persistence import models

from persistence import ItemSteps, Run, State, StateUnavailable
from tests.support.waiting import LIMIT, until


def new_book(name: str, atoms: int = 1) -> tuple[models.LogBook, models.FlowDetail]:
    book = models.LogBook(f"book {name}", f"book-{name}")
    flow = models.FlowDetail(f"flow {name}", f"flow-{name}")
    book.add(flow)
    for number in range(atoms):
        flow.add(models.TaskDetail(f"task {number}", f"atom-{name}-{number}"))
    return book, flow


def test_one_connection_for_all(state: State) -> None:
    assert state.taskflow is state.taskflow
    assert state.taskflow.get_connection() is state.taskflow.get_connection()


def test_what_is_saved_is_read_back(state: State) -> None:
    connection = state.taskflow.get_connection()
    book, flow = new_book("a", atoms=2)
    atom = flow.find("atom-a-1")
    atom.state = states.SUCCESS
    atom.intention = states.REVERT
    atom.put(states.SUCCESS, {"when": datetime(2026, 1, 1, tzinfo=UTC), "name": "ü"})
    atom.meta = {"progress": 0.5}
    book.meta = {"run": "r"}
    connection.save_logbook(book)
    again = connection.get_logbook(book.uuid)
    assert again.meta == {"run": "r"}
    atom = again.find(flow.uuid).find("atom-a-1")
    assert (atom.state, atom.intention, atom.meta) == (
        states.SUCCESS,
        states.REVERT,
        {"progress": 0.5},
    )
    assert atom.results["name"] == "ü"
    assert str(atom.results["when"]).startswith("2026-01-01"), "on every database alike"
    with pytest.raises(exceptions.NotFound):
        connection.get_logbook("nothing")


def begun(state: State, new_run: Callable[..., Run], *keys: str) -> tuple[Any, ...]:
    """Two stored atoms: the first has succeeded, the second has begun."""
    connection = state.taskflow.get_connection()
    book, flow = new_book("a", atoms=2)
    connection.save_logbook(book)
    first, second = flow.find("atom-a-0"), flow.find("atom-a-1")
    first.state, second.state = states.SUCCESS, states.RUNNING
    first.results = {"name": "ü"}
    return connection, first, second, new_run(*keys)


def stored(state: State, run: Run) -> tuple[list[str], list[str | None]]:
    atoms = state.taskflow.get_connection().get_atoms_for_flow("flow-a")
    found = {atom.uuid: atom.state for atom in atoms}
    return [found[uuid] for uuid in sorted(found)], [i.step for i in state.runs.items(run.id)]


@pytest.mark.parametrize("keys", [(), ("x",), ("x", "z")])
def test_an_atom_is_saved_together_with_items(
    state: State, new_run: Callable[..., Run], keys: tuple[str, ...]
) -> None:
    connection, first, second, run = begun(state, new_run, "x", "y", "z")
    written = {"steps": [{"name": "ü\udcff"}]}
    steps = ItemSteps(run.id, {key: {"step": "copy", "result": written} for key in keys})
    connection.update_atom_details(first)
    connection.update_atom(second, steps)
    items = ["copy" if key in keys else None for key in "xyz"]
    assert stored(state, run) == ([states.SUCCESS, states.RUNNING], items)
    for key in keys:
        assert state.runs.item(run.id, key).result == written
    assert connection.get_atom_details("atom-a-0").results == {"name": "ü"}


@pytest.mark.parametrize("missing", ["atom", "item", "one of the items"])
def test_what_is_not_stored_cannot_be_saved(
    state: State, new_run: Callable[..., Run], missing: str
) -> None:
    connection, _, second, run = begun(state, new_run, "x", "y")
    keys = {"item": ["z"], "one of the items": ["x", "z"]}.get(missing, ["x"])
    steps = ItemSteps(run.id, {key: {"step": "copy", "result": {}} for key in keys})
    atom = models.TaskDetail("nothing", "nothing") if missing == "atom" else second
    with pytest.raises(exceptions.NotFound):
        connection.update_atom(atom, steps)
    # The atom is not stored as begun if its step cannot be recorded.
    assert states.RUNNING not in stored(state, run)[0]


def test_atoms_of_a_flow_that_has_begun(state: State) -> None:
    """Atoms that are new in the flow are stored, and stored atoms stay."""
    connection = state.taskflow.get_connection()
    book, flow = new_book("a")
    connection.save_logbook(book)
    for number in range(1, 4):
        flow.add(models.TaskDetail(f"täsk {number}", f"atom-a-{number}"))
    flow.add(models.RetryDetail("retry", "retry-a"))
    flow.find("atom-a-1").intention = states.REVERT
    flow.find("atom-a-2").put(states.SUCCESS, {"when": datetime(2026, 1, 1, tzinfo=UTC)})
    connection.update_flow_details(flow)
    found = connection.get_flow_details(flow.uuid)
    assert {atom.uuid: type(atom) for atom in found} == {a.uuid: type(a) for a in flow}
    assert found.find("atom-a-1").name == "täsk 1"
    assert found.find("atom-a-1").intention == states.REVERT
    assert found.find("atom-a-1").results is None
    assert str(found.find("atom-a-2").results["when"]).startswith("2026-01-01")
    assert found.find("retry-a").results == []
    assert len(connection.get_flow_details(flow.uuid, lazy=True)) == 0
    with pytest.raises(exceptions.NotFound):
        connection.get_flow_details("nothing")


def test_what_a_resumed_flow_holds_stays(state: State) -> None:
    """Results can contain file names that are not text; they stay when the flow is resumed."""
    connection = state.taskflow.get_connection()
    book, flow = new_book("a", atoms=2)
    connection.save_logbook(book)
    atom = flow.find("atom-a-0")
    results = {"unread": ["/\udcff", "/\0"]}
    atom.put(states.SUCCESS, results)
    connection.update_atom_details(atom)
    with State.open(state._database.engine.url.render_as_string(hide_password=False)) as other:
        connection = other.taskflow.get_connection()
        flow = connection.get_flow_details("flow-a")
        flow.state = states.RUNNING
        connection.update_flow_details(flow)
        flow.add(models.TaskDetail("new", "atom-a-2"))
        connection.update_flow_details(flow)
        found = connection.get_flow_details("flow-a")
    assert (found.state, len(found)) == (states.RUNNING, 3)
    assert found.find("atom-a-0").results == results


def test_a_flow_that_is_not_stored_is_not_found(state: State) -> None:
    connection = state.taskflow.get_connection()
    _, flow = new_book("a", atoms=2)
    with pytest.raises(exceptions.NotFound):
        connection.update_flow_details(flow)


def test_destroying_a_book_takes_its_flows_along(state: State) -> None:
    connection = state.taskflow.get_connection()
    for name in ("a", "b"):
        connection.save_logbook(new_book(name)[0])
    connection.destroy_logbook("book-a")
    assert [book.uuid for book in connection.get_logbooks()] == ["book-b"]
    with state._database.read() as reading:
        for table in ("flowdetails", "atomdetails"):
            count = reading.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
            assert count == 1, table


def test_memory_is_flat(state: State) -> None:
    """TaskFlow's own backend makes another MetaData for each save."""
    connection = state.taskflow.get_connection()
    book, flow = new_book("a")
    connection.save_logbook(book)
    atom = flow.find("atom-a-0")

    def save(times: int) -> None:
        for number in range(times):
            atom.meta = {"progress": number}
            state.taskflow.get_connection().update_atom_details(atom)

    save(300)
    gc.collect()
    before = sum(isinstance(thing, sa.MetaData) for thing in gc.get_objects())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    save(1500)
    gc.collect()
    after = sum(isinstance(thing, sa.MetaData) for thing in gc.get_objects())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    assert after <= before
    assert grown < 4096, "KiB"


def test_finding_the_atoms_of_a_flow_uses_an_index(state: State) -> None:
    for table in ("flowdetails", "atomdetails"):
        with state._database.read() as connection:
            indexes = sa.inspect(connection).get_indexes(table)
        assert ["parent_uuid"] in [index["column_names"] for index in indexes], table


class Work(task.Task):
    """Save progress and write to the ledger while other flows do the same."""

    def __init__(self, name: str, state: State) -> None:
        super().__init__(name)
        self._state = state

    def execute(self) -> dict[str, Any]:
        """Save and write."""
        tag = f"tag {self.name}"
        self._state.ledger.intend(tag, run_id="r", item="i", kind="k")
        for number in range(3):
            self.update_progress(number / 3)
        self._state.ledger.present(tag, f"id {self.name}")
        return {"name": self.name}


def test_ten_engines_share_it_with_the_ledger(state: State) -> None:
    """Ten flows in parallel, as in a run, all of them writing."""
    book = models.LogBook("book")
    details = [models.FlowDetail(f"flow {number}", f"flow-{number}") for number in range(10)]
    for detail in details:
        book.add(detail)
    state.taskflow.get_connection().save_logbook(book)

    def drive(detail: models.FlowDetail, pool: ThreadPoolExecutor) -> str:
        flow = linear_flow.Flow(detail.name)
        flow.add(*(Work(f"{detail.uuid} {number}", state) for number in range(5)))
        engine = engines.load(
            flow,
            flow_detail=detail,
            book=book,
            backend=state.taskflow,
            engine="parallel",
            executor=pool,
        )
        engine.run()
        return str(engine.storage.get_flow_state())

    with ThreadPoolExecutor(10) as pool, ThreadPoolExecutor(10) as drivers:
        ended = list(drivers.map(lambda detail: drive(detail, pool), details))
    assert ended == [states.SUCCESS] * 10
    stored = state.taskflow.get_connection().get_logbook(book.uuid)
    atoms = [atom for detail in stored for atom in detail]
    # To TaskFlow the flow itself is also an atom.
    named = {atom.name: atom for atom in atoms if atom.name.startswith("flow-")}
    assert len(named) == 50
    assert {atom.state for atom in named.values()} == {states.SUCCESS}
    assert all(atom.results == {"name": name} for name, atom in named.items())
    assert {entry.resource_id for entry in state.ledger.open()} == {f"id {name}" for name in named}


def test_ten_threads_save_and_read_at_once(state: State) -> None:
    connection = state.taskflow.get_connection()
    problems: list[BaseException] = []

    def work(name: str) -> None:
        try:
            book, flow = new_book(name, atoms=3)
            connection.save_logbook(book)
            for number in range(15):
                for atom in flow:
                    atom.meta = {"number": number}
                    connection.update_atom_details(atom)
                flow.meta = {"number": number}
                connection.update_flow_details(flow)
                state.ledger.intend(f"{name} {number}", run_id="r", item=name, kind="k")
                assert len(list(connection.get_atoms_for_flow(flow.uuid))) == 3
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            problems.append(error)

    threads = [threading.Thread(target=work, args=(f"n{number}",)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    atoms = [atom for book in connection.get_logbooks() for flow in book for atom in flow]
    assert len(atoms) == 30
    assert all(atom.meta == {"number": 14} for atom in atoms)
    assert len(state.ledger.open()) == 150


def test_a_killed_flow_resumes(
    url: str,
    spawn: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("STATE_FLOW_HANGS_AT", "second")
    process = spawn("run_flow", url, log)

    def reached() -> bool:
        assert process.poll() is None, process.communicate()
        return log.exists() and "second" in log.read_text()

    until(reached)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    monkeypatch.delenv("STATE_FLOW_HANGS_AT")
    resumed = spawn("resume_flow", url, log)
    output, errors = resumed.communicate(timeout=LIMIT)
    assert resumed.returncode == 0, errors
    assert log.read_text().split() == ["first", "second", "second", "third"]
    assert "'by first': 'result of first'" in output, "kept from before the kill"
    assert "'by third': 'result of third'" in output


def test_failures_of_the_database_are_both_kinds_of_error(url: str) -> None:
    state = State.open(url)
    connection = state.taskflow.get_connection()
    book, _ = new_book("a")
    connection.save_logbook(book)
    state.close()
    with pytest.raises(exceptions.StorageFailure) as caught:
        connection.save_logbook(book)
    assert isinstance(caught.value, StateUnavailable)
    assert "closed" in str(caught.value)
