"""The temporary snapshot: made once, deleted by its revert, and a leftover if that fails."""

from __future__ import annotations

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.cloud.ownership import temporary_name
from volflow.tasks.base import Dispose
from volflow.tasks.snapshot import Snapshot


@pytest.fixture
def step(state: State, cloud: FakeClient) -> Snapshot:
    return Snapshot(work_of(state, cloud, cloud.put()))


def test_its_input_and_result_are_named_by_its_volume(step: Snapshot) -> None:
    volume_id = step.work.volume_id
    assert step.name == f"{volume_id}:snapshot"
    assert set(step.provides) == {f"{volume_id}:snapshot"}
    assert set(step.requires) == set()


def test_a_second_execution_finds_the_snapshot_of_the_first(
    cloud: FakeClient, step: Snapshot
) -> None:
    assert step.execute()["id"] == step.execute()["id"]
    assert len(cloud.volume_snapshots) == 1


def test_a_revert_deletes_the_snapshot_and_closes_its_entry(
    state: State, cloud: FakeClient, step: Snapshot
) -> None:
    step.execute()
    step.revert()
    assert len(cloud.volume_snapshots) == 0
    assert state.ledger.open() == []


def test_a_revert_deletes_a_snapshot_whose_creation_had_no_answer(
    cloud: FakeClient, step: Snapshot
) -> None:
    step.intend(volume_id=step.work.volume_id)
    name = temporary_name(step.services.run_id)
    cloud.put(step.tag, volume_id=step.work.volume_id, name=name)
    step.revert()
    assert len(cloud.volume_snapshots) == 0


@pytest.mark.parametrize("forward", [False, True])
def test_a_snapshot_that_cannot_be_deleted_is_a_leftover_and_no_failure(
    state: State, cloud: FakeClient, step: Snapshot, forward: bool
) -> None:
    made = step.execute()
    cloud.fail("volume_snapshots.delete", message="the snapshot is busy")
    Dispose(step).execute() if forward else step.revert()
    (entry,) = state.ledger.leftovers()
    assert entry.resource_id == made["id"]
    assert "the snapshot is busy" in str(entry.reason)
    cloud.recover()
    step.revert()
    assert state.ledger.leftovers() == []


def test_snapshots_of_others_stay(cloud: FakeClient, step: Snapshot) -> None:
    other = cloud.put(volume_id=step.work.volume_id)
    step.execute()
    step.revert()
    assert list(cloud.volume_snapshots) == [other]
