"""Undoing depends on the ledger, not only on what TaskFlow knows of the steps."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskflow import states
from taskflow.patterns import graph_flow
from taskflow.persistence import models

from persistence import Entry, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow import logs
from volflow.flows.volume import volume_flow
from volflow.runs.engine import load
from volflow.runs.lease import RunLease
from volflow.runs.resume import rewind, undo
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work


class Thing(Temporary):
    """A resource that belongs to this host; its removal is noted.

    :cvar removed: the kinds of the removed resources, in their order
    """

    host_local = True
    removed: list[str] = []

    def execute(self) -> None:
        self.intend()
        self.present(self.kind)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        Thing.removed.append(entry.kind)


class First(Thing):
    kind = step = "first"


class Second(Thing):
    kind = step = "second"


class Third(Thing):
    kind = step = "third"


class Never(Thing):
    """A step that no process has begun."""

    kind = step = "never"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    Thing.removed = []
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found, logs.about("run"):
        yield found


def engine(state: State, steps: list[Step]) -> Any:
    """An engine in a new process, as far as TaskFlow can know."""
    detail = state.taskflow.get_connection().get_flow_details("flow-id")
    flow = graph_flow.Flow("flow").add(volume_flow(steps[0].work, "backup").add(*steps))
    hold = RunLease(state.leases, secrets.token_hex(4))
    found = load(flow, detail, state, None, hold, lambda *_: None)
    found.compile()
    found.prepare()
    return found


def test_steps_that_a_killed_resume_has_reset_are_undone_in_their_order(state: State) -> None:
    detail, book = models.FlowDetail("flow", "flow-id"), models.LogBook("book", "book-id")
    book.add(detail)
    state.taskflow.get_connection().save_logbook(book)
    work = work_of(state, FakeClient(), "volume")
    steps: list[Step] = [First(work), Second(work), Third(work), Never(work)]
    # Killed before the last step; the resume is killed when it has reset the steps.
    killed = engine(state, steps)
    for step in steps[:3]:
        step.execute()
        killed.storage.set_atom_state(step.name, states.SUCCESS)
    killed.storage.set_flow_state(states.RUNNING)
    rewind(engine(state, steps).storage, "volume", steps)
    abort = engine(state, steps)
    assert {abort.storage.get_atom_state(step.name) for step in steps} == {states.PENDING}

    undo(abort.storage, "volume", steps)
    abort.run()
    assert Thing.removed == ["third", "second", "first"]
    assert state.ledger.open() == []
    assert abort.storage.get_atom_state(steps[3].name) == states.PENDING
