"""State of release 0.1.0 can be listed and shown, and its runs can be resumed or aborted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest
from taskflow import states

from persistence import EntryState, Item, ItemState, Run, RunState, State
from tests.support import first_release
from volflow.cloud.login import Login
from volflow.flows.graph import Component
from volflow.movers.base import StoredBackup
from volflow.observers.metrics import registry
from volflow.report.dot import dot
from volflow.report.graph import RunGraph
from volflow.report.page import page
from volflow.repositories.backups import Backups
from volflow.repositories.manifest import Manifest
from volflow.results import stored
from volflow.results.outcome import Outcome
from volflow.results.request import complete_request
from volflow.runs import leftovers, resume
from volflow.runs.build import FlowBuilder
from volflow.runs.engine import load
from volflow.runs.work import RunWork

KEPT: Any = SimpleNamespace(ensure=lambda ask=False: None)


class Manifests:
    """Backups without information about their volumes."""

    def manifest(self, backup: StoredBackup) -> Manifest:
        return Manifest.missing(backup.tags["volume"])


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    first_release.load(tmp_path / "state.sqlite")
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@pytest.fixture(
    params=[
        first_release.COMPLETE_BACKUP,
        first_release.COMPLETE_BACKUP_OF_THIRD,
        first_release.COMPLETE_RESTORE,
        first_release.FAILED_BACKUP,
        first_release.KILLED_BACKUP,
        first_release.SUSPENDED_RESTORE,
        first_release.SUSPENDED_GROUP_BACKUP,
    ]
)
def run(request: pytest.FixtureRequest, state: State) -> Run:
    return state.runs.get(request.param)


def components(state: State, run: Run) -> list[Component]:
    """The flows of a run, including those of volumes that have ended."""
    cloud: Any = SimpleNamespace(login=Login(region="lab"), in_project=lambda project_id: None)
    repositories: Any = SimpleNamespace(of=lambda _: None, mover=lambda _: None)
    services: Any = SimpleNamespace(run_id=run.id)
    work = RunWork(run.id, complete_request(run), services, cloud, repositories)
    items = [replace(item, state=ItemState.PENDING) for item in state.runs.items(run.id)]
    return FlowBuilder(run, work, cast(Backups, Manifests())).graph(items).components()


def flow_of(state: State, item: Item) -> Any:
    return state.taskflow.get_connection().get_flow_details(item.flow_id)


def test_its_runs_are_listed_with_their_states(state: State) -> None:
    assert {(run.kind, run.state, run.id) for run in state.runs.list()} == {
        ("backup", RunState.COMPLETE, first_release.COMPLETE_BACKUP),
        ("backup", RunState.COMPLETE, first_release.COMPLETE_BACKUP_OF_THIRD),
        ("restore", RunState.COMPLETE, first_release.COMPLETE_RESTORE),
        ("backup", RunState.FAILED, first_release.FAILED_BACKUP),
        ("backup", RunState.RUNNING, first_release.KILLED_BACKUP),
        ("restore", RunState.SUSPENDED, first_release.SUSPENDED_RESTORE),
        ("backup", RunState.SUSPENDED, first_release.SUSPENDED_GROUP_BACKUP),
    }


def test_no_run_of_it_is_held(state: State) -> None:
    assert {run.held_at for run in state.runs.list()} == {None}
    run = state.runs.get(first_release.SUSPENDED_RESTORE)
    assert stored.state(run, driven=False) == "suspended"
    held = state.runs.update(run.id, held_at=run.updated_at)
    assert stored.state(held, driven=False) == "held"
    assert stored.state(held, driven=True) == "suspended"


def test_a_run_is_shown_as_a_result_a_page_and_a_graph(state: State, run: Run) -> None:
    items = state.runs.items(run.id)
    assert len(stored.run_result(run, items).volumes) == len(items)
    assert run.id in page(run, items, driven=False)
    book = state.taskflow.get_connection().get_logbook(run.logbook_id)
    graph = dot(RunGraph.of(run, items, book, driven=False))
    assert all(item.name in graph for item in items)


def test_the_results_of_ended_volumes_are_complete(state: State) -> None:
    run = state.runs.get(first_release.COMPLETE_BACKUP)
    (volume,) = stored.run_result(run, state.runs.items(run.id)).volumes
    assert (volume.outcome, volume.figures.files_new) == (Outcome.COMPLETE, 2)
    assert volume.steps[-1].state == states.SUCCESS
    run = state.runs.get(first_release.FAILED_BACKUP)
    (volume,) = stored.run_result(run, state.runs.items(run.id)).volumes
    assert (volume.outcome, volume.error) == (
        Outcome.FAILED,
        "injected before execute of copy",
    )


def test_its_runs_count_in_the_metrics(state: State) -> None:
    conf = SimpleNamespace(out_of_date_after=26.0, forget_after=720.0)
    text = generate_latest(registry(conf, state, datetime(2026, 1, 15, 20, tzinfo=UTC))).decode()
    assert 'outcome="complete"' in text
    assert f'project_id="{first_release.PROJECT}"' in text


def test_what_an_unfinished_run_made_is_no_leftover(state: State) -> None:
    assert leftovers.known(state) == []
    made = {entry.kind for entry in state.ledger.open(first_release.KILLED_BACKUP)}
    assert made == {"snapshot", "volume", "attachment", "device"}


def test_a_flow_is_built_with_exactly_the_steps_that_are_stored(state: State, run: Run) -> None:
    items = {item.key: item for item in state.runs.items(run.id)}
    for component in components(state, run):
        assert {items[key].flow_id for key in component.volumes} == {
            items[component.volumes[0]].flow_id
        }
        detail = flow_of(state, items[component.volumes[0]])
        assert component.outline() == detail.meta
        names = {atom.name for atom in detail}
        engine = load(component.flow, detail, state, None, KEPT, lambda name, to: None)
        engine.compile()
        engine.prepare()
        assert {atom.name for atom in detail} == names
        assert {step.name for step in component.all_steps} <= names


@pytest.mark.parametrize(
    "run_id",
    [
        first_release.KILLED_BACKUP,
        first_release.SUSPENDED_RESTORE,
        first_release.SUSPENDED_GROUP_BACKUP,
    ],
)
def test_a_run_is_resumed_at_its_copy(state: State, run_id: str) -> None:
    run = state.runs.get(run_id)
    items = {item.key: item for item in state.runs.items(run.id)}
    (component,) = components(state, run)
    detail = flow_of(state, items[component.volumes[0]])
    engine = load(component.flow, detail, state, None, KEPT, lambda name, to: None)
    engine.compile()
    engine.prepare()
    for shared in component.shared:
        resume.rewind_shared(engine.storage, shared)
    for volume_id in component.volumes:
        resume.rewind(engine.storage, volume_id, component.steps(volume_id))
    copied = [
        {
            step.name.partition(":")[2]: engine.storage.get_atom_state(step.name)
            for step in component.steps(volume_id)
        }
        for volume_id in component.volumes
    ]
    # One of the group's volumes was being copied, and the other had not begun.
    begun = [one for one in copied if states.SUCCESS in one.values()]
    assert len(begun) == 1
    assert begun[0]["copy"] == states.PENDING
    names = list(begun[0])
    after = {begun[0][name] for name in names[names.index("copy") :]}
    assert after == {states.PENDING}


def test_the_ledger_of_a_run_that_ended_is_closed(state: State) -> None:
    for run in state.runs.list():
        if run.state.final:
            assert state.ledger.open(run.id) == []
    entry = state.ledger.find(f"{first_release.KILLED_BACKUP}/{first_release.SECOND}/snapshot")
    assert entry is not None
    assert (entry.state, entry.resource_id) == (EntryState.PRESENT, first_release.SNAPSHOT)
