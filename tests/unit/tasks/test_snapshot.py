"""The temporary snapshot: made once, deleted by its revert, and a leftover if that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cinderclient import exceptions

from persistence import State
from tests.support.fake_cinder import TYPE, FakeClient
from tests.support.work import work_of
from volflow.cloud.marks import CLAIMED, RESTORED, TAG_KEY
from volflow.cloud.ownership import temporary_name
from volflow.cloud.properties import NOT_VISIBLE
from volflow.cloud.volumes import Volumes
from volflow.errors import ResourceNotFoundError, SourceDeletedError, VolumeStateError
from volflow.tasks.base import Dispose
from volflow.tasks.description import Describe
from volflow.tasks.snapshot import Snapshot


@pytest.fixture
def step(state: State, cloud: FakeClient, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    monkeypatch.setattr("volflow.tasks.source._AGAIN", 0.0)
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


@pytest.mark.parametrize("call", ["volume_snapshots.create", "volume_snapshots.list"])
@pytest.mark.parametrize("kind", [CLAIMED, RESTORED])
def test_a_volume_that_a_restore_takes_meanwhile_is_not_backed_up(
    state: State, cloud: FakeClient, step: Snapshot, call: str, kind: str
) -> None:
    """Just before its snapshot is requested, or just after."""
    other = work_of(state, cloud, step.work.volume_id)
    cloud.after(
        call,
        lambda: cloud.volumes.set_metadata(step.work.volume_id, {TAG_KEY: other.tag(kind)}),
    )
    with pytest.raises(VolumeStateError, match=f"restored by run {other.services.run_id}"):
        step.execute()
    step.revert()
    assert len(cloud.volume_snapshots) == 0
    assert state.ledger.open() == []


def test_a_volume_that_is_being_restored_gets_no_snapshot(
    state: State, cloud: FakeClient, step: Snapshot
) -> None:
    other = work_of(state, cloud, step.work.volume_id)
    cloud.volumes.set_metadata(step.work.volume_id, {TAG_KEY: other.tag(CLAIMED)})
    cloud.done.clear()
    for refused in (Describe(step.work).execute, step.execute):
        with pytest.raises(VolumeStateError, match="it is not backed up"):
            refused()
    assert cloud.done == []


def test_a_volume_that_its_owner_changes_at_the_moment_is_waited_for(
    cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cinder makes no snapshot while it extends or attaches the volume."""
    volume = cloud.volumes[step.work.volume_id]
    volume["status"] = "extending"
    create, looks = cloud.volume_snapshots.create, iter(range(3))

    def looked() -> None:
        if next(looks, None) is None:
            volume["status"] = "available"
        else:
            cloud.after("volumes.get", looked)

    def created(*args: Any, **fields: Any) -> Any:
        assert volume["status"] == "available"
        return create(*args, **fields)

    monkeypatch.setattr(cloud.volume_snapshots, "create", created)
    cloud.after("volumes.get", looked)
    assert step.execute()["status"] == "available"


def changing(
    cloud: FakeClient, volume_id: str, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]
) -> None:
    """Let the owner change the volume: after the next three looks, something happens."""
    get, looks = cloud.volumes.get, iter(range(3))
    cloud.volumes[volume_id]["status"] = "detaching"

    def looked(asked: str) -> Any:
        if next(looks, None) is None:
            monkeypatch.setattr(cloud.volumes, "get", get)
            then()
        return get(asked)

    monkeypatch.setattr(cloud.volumes, "get", looked)


def test_a_volume_that_is_deleted_when_it_is_detached_is_told_apart(
    state: State, cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Nova does with the volumes of a server that are deleted on termination."""
    volume = step.work.volume_id
    changing(cloud, volume, monkeypatch, lambda: cloud.volumes.delete(volume))
    with pytest.raises(SourceDeletedError, match="before its snapshot was made"):
        step.execute()
    step.revert()
    assert state.ledger.open() == []


def test_a_restore_that_begins_while_the_volume_is_waited_for_is_noticed(
    state: State, cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = step.work.volume_id
    other = work_of(state, cloud, volume)

    def restore() -> None:
        cloud.volumes[volume]["status"] = "available"
        cloud.volumes.set_metadata(volume, {TAG_KEY: other.tag(CLAIMED)})

    changing(cloud, volume, monkeypatch, restore)
    with pytest.raises(VolumeStateError, match="it is not backed up"):
        step.execute()
    assert len(cloud.volume_snapshots) == 0


def test_one_answer_of_not_found_does_not_end_the_wait_for_a_volume(
    cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, get = cloud.volumes[step.work.volume_id], cloud.volumes.get
    answers, lost = iter([True, False, True, False, True]), list[str]()

    def lagging(volume_id: str) -> Any:
        there = next(answers, None)
        if there is None:
            volume["status"] = "available"
        if there is False:
            lost.append(volume_id)
            raise exceptions.NotFound(404)
        return get(volume_id)

    volume["status"] = "extending"
    monkeypatch.setattr(cloud.volumes, "get", lagging)
    assert step.execute()["status"] == "available"
    assert len(lost) == 2


def test_a_snapshot_that_exists_needs_no_wait_for_the_volume(
    cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = step.execute()
    cloud.volumes[step.work.volume_id]["status"] = "extending"
    monkeypatch.setattr(Volumes, "wait_settled", lambda *_: pytest.fail("it waits"))
    assert step.execute()["id"] == made["id"]


def test_a_volume_that_is_deleted_before_its_turn_is_told_apart(
    cloud: FakeClient, step: Snapshot
) -> None:
    cloud.volumes.delete(step.work.volume_id)
    for refused in (Describe(step.work).execute, step.execute):
        with pytest.raises(SourceDeletedError, match=r"was deleted, or moved .* before its snap"):
            refused()


def test_one_answer_of_not_found_does_not_make_a_volume_deleted(
    cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    get, answers = cloud.volumes.get, iter([True])

    def lost_once(volume_id: str) -> Any:
        if next(answers, False):
            raise exceptions.NotFound(404)
        return get(volume_id)

    monkeypatch.setattr(cloud.volumes, "get", lost_once)
    assert Describe(step.work).execute()["volume"]["id"] == step.work.volume_id


def test_a_volume_type_that_is_not_visible_is_no_obstacle(
    cloud: FakeClient, step: Snapshot
) -> None:
    cloud.types.clear()
    found = Describe(step.work).execute()
    assert found["volume_type"] == {
        "id": TYPE["id"],
        "name": TYPE["name"],
        **dict.fromkeys(("description", "extra_specs", "qos_specs_id"), NOT_VISIBLE),
    }
    assert found["qos"] == {}


def test_a_snapshot_that_fails_for_the_volume_type_says_so(
    cloud: FakeClient, step: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise exceptions.NotFound(404, "Volume type could not be found.")

    monkeypatch.setattr(cloud.volume_snapshots, "create", refused)
    with pytest.raises(ResourceNotFoundError):
        step.execute()
    cloud.types.clear()
    with pytest.raises(VolumeStateError, match="may not use its volume type 'standin' any more"):
        step.execute()


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
