"""The reports and records of a volume's steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from taskflow import states

from persistence import Item, State
from volflow.flows.graph import Component
from volflow.observers.progress import Observer
from volflow.results import stored
from volflow.runs.step_log import StepRecorder


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        things = [("v", "one"), ("w", "two")]
        found.runs.create("backup", {}, things, host="", boot_id="", pid=1, run_id="r")
        yield found


def step(name: str) -> Any:
    work = SimpleNamespace(volume_id=name.partition(":")[0])
    return SimpleNamespace(name=name, work=work)


def story(state: State, told: list[tuple[str, ...]]) -> StepRecorder:
    shared = step("group:snapshot")
    steps = [shared, step("v:copy"), step("w:copy")]
    component = SimpleNamespace(volumes=["v", "w"], shared=[shared], all_steps=steps)
    progress = SimpleNamespace(step=lambda *what: told.append(what))
    items: dict[str, Item] = {item.key: item for item in state.runs.items("r")}
    return StepRecorder(
        state.runs, cast(Observer, progress), "r", cast(Component, component), items
    )


def tell(of: StepRecorder, atom: str, *to: str) -> None:
    for one in to:
        of.tell(one, {"task_name": atom})


def written(state: State, key: str) -> tuple[str | None, list[tuple[str, str]]]:
    item = state.runs.item("r", key)
    return item.step, [(one.name, one.state) for one in stored.steps(item)]


def test_a_step_that_begins_is_for_another_to_save(state: State) -> None:
    told: list[tuple[str, ...]] = []
    found = story(state, told)
    begun = found.begins("v:copy", states.RUNNING)
    assert begun is not None
    assert begun.run_id == "r"
    assert {key: fields["step"] for key, fields in begun.items.items()} == {"v": "copy"}
    tell(found, "v:copy", states.RUNNING, states.SUCCESS)
    assert written(state, "v") == (None, [])
    assert told == [("v", "copy", states.RUNNING), ("v", "copy", states.SUCCESS)]
    (ended,) = found.steps("v")
    assert (ended.name, ended.state) == ("copy", states.SUCCESS)
    undone = found.begins("v:copy", states.REVERTING)
    assert undone is not None
    names = [(one["name"], one["state"]) for one in undone.items["v"]["result"]["steps"]]
    assert names == [("copy", states.SUCCESS), ("copy", states.REVERTING)]


@pytest.mark.parametrize("to", [states.PENDING, states.SUCCESS, states.FAILURE, states.REVERTED])
def test_what_begins_no_step(state: State, to: str) -> None:
    assert story(state, []).begins("v:copy", to) is None
    assert story(state, []).begins("v:revert", states.RUNNING) is None


def test_what_is_shared_begins_for_all(state: State) -> None:
    begun = story(state, []).begins("group:snapshot", states.RUNNING)
    assert begun is not None
    assert list(begun.items) == ["v", "w"]


def test_a_step_that_goes_on_is_kept_too(state: State) -> None:
    """If the process is killed in a step, TaskFlow has not saved that the step was running."""
    told: list[tuple[str, ...]] = []
    tell(story(state, told), "v:copy", states.RUNNING)
    assert written(state, "v") == ("copy", [("copy", states.RUNNING)])
    assert written(state, "w") == (None, [])
    assert told == [("v", "copy", states.RUNNING)]
