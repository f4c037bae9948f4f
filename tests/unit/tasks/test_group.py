"""The snapshot that the volumes of a group share, and the group of restored volumes."""

from __future__ import annotations

import pytest

from persistence import State
from tests.support.fake_cinder import TYPE, FakeClient
from tests.support.work import work_of
from volflow.cloud.marks import CLAIMED, TAG_KEY
from volflow.errors import ResourceNotFoundError, VolumeStateError
from volflow.tasks.group import GroupSnapshot, GroupWanted, MemberSnapshot, RestoredGroup

GONE = "00000000-0000-4000-8000-00000000906e"


@pytest.fixture
def group(cloud: FakeClient) -> str:
    return str(cloud.groups.create("a type", name="shop").id)


@pytest.fixture
def members(cloud: FakeClient, group: str) -> list[str]:
    return [cloud.put(group_id=group) for _ in range(2)]


def test_one_group_snapshot_has_a_snapshot_of_each_volume(
    state: State, cloud: FakeClient, group: str, members: list[str]
) -> None:
    step = GroupSnapshot(work_of(state, cloud, group))
    assert set(step.execute()) == set(members)
    assert step.execute() == step.execute()
    assert len(cloud.group_snapshots) == 1
    step.revert()
    assert (len(cloud.group_snapshots), len(cloud.volume_snapshots)) == (0, 0)
    assert state.ledger.open() == []


def test_a_volume_that_has_left_the_group_fails_alone(
    state: State, cloud: FakeClient, group: str, members: list[str]
) -> None:
    shared = GroupSnapshot(work_of(state, cloud, group))
    snapshots = shared.execute()
    found = MemberSnapshot(work_of(state, cloud, members[0]), shared)
    assert found.execute(snapshots) == snapshots[members[0]]
    other = MemberSnapshot(work_of(state, cloud, cloud.put()), shared)
    with pytest.raises(ResourceNotFoundError, match="has left the group since the run began"):
        other.execute(snapshots)


@pytest.mark.parametrize("call", ["groups.get", "group_snapshots.create"])
def test_a_member_that_a_restore_takes_meanwhile_fails_alone(
    state: State, cloud: FakeClient, group: str, members: list[str], call: str
) -> None:
    """Just before the group snapshot is requested, or just after."""
    other = work_of(state, cloud, members[0])
    cloud.after(call, lambda: cloud.volumes.set_metadata(members[0], {TAG_KEY: other.tag(CLAIMED)}))
    shared = GroupSnapshot(work_of(state, cloud, group))
    snapshots = shared.execute()
    # The restore may have ended when it is this volume's turn.
    cloud.volumes.delete_metadata(members[0], [TAG_KEY])
    with pytest.raises(VolumeStateError, match=f"restored by run {other.services.run_id}"):
        MemberSnapshot(work_of(state, cloud, members[0]), shared).execute(snapshots)
    MemberSnapshot(work_of(state, cloud, members[1]), shared).execute(snapshots)


def restored(state: State, cloud: FakeClient) -> RestoredGroup:
    was = {"id": GONE, "name": "shop", "description": "all of it", "consistency_group": True}
    wanted = GroupWanted(was, "", [str(TYPE["name"])], "nova")
    return RestoredGroup(work_of(state, cloud, GONE), wanted, anew=True)


def test_a_restored_group_with_volumes_is_kept_without_the_tag(
    state: State, cloud: FakeClient
) -> None:
    step = restored(state, cloud)
    group_id = step.execute()["id"]
    assert [one["id"] for one in cloud.cinder().groups.marked()] == [group_id]
    cloud.put(group_id=group_id)
    step.revert()
    assert cloud.consistencygroups[group_id]["description"] == "all of it"
    assert cloud.cinder().groups.marked() == []


def test_a_restored_group_without_volumes_is_deleted(state: State, cloud: FakeClient) -> None:
    step = restored(state, cloud)
    step.execute()
    step.revert()
    assert len(cloud.consistencygroups) == 0


def test_a_group_that_cannot_be_created_fails_no_volume(state: State, cloud: FakeClient) -> None:
    cloud.fail("consistencygroups.create", message="no driver for groups")
    made = restored(state, cloud).execute()
    assert made["id"] is None
    assert "no driver for groups" in made["why"]
