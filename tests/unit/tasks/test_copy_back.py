"""What Cinder does not revert is copied back from the safety snapshot."""

from __future__ import annotations

from typing import Any

import pytest
from cinderclient import exceptions

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.errors import ChangedError, CloudError, HostError
from volflow.tasks import safety_snapshot
from volflow.tasks.claim import Claim
from volflow.tasks.copy_back import SafetyVolume
from volflow.tasks.remarks import Remark
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work

REFUSED = exceptions.BadRequest(400, "The volume size must be equal to the snapshot size.")


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    """A restore in place that has begun to write."""
    target = cloud.put()
    found = work_of(state, cloud, target)
    Claim(found, target).execute()
    SafetySnapshot(found).execute(target)
    SafetySnapshot(found).overwriting(target)
    return found


def remove(work: Work) -> None:
    entry = work.services.ledger.find(work.tag(SafetySnapshot.kind))
    assert entry is not None
    SafetySnapshot.remove(work, entry)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The snapshots that were copied back."""
    found: list[str] = []

    def copy_back(work: Work, volume: dict[str, Any], snapshot: dict[str, Any]) -> None:
        found.append(snapshot["id"])

    monkeypatch.setattr(safety_snapshot, "copy_back", copy_back)
    return found


def test_a_volume_that_cinder_does_not_revert_is_copied_back_and_that_is_said(
    cloud: FakeClient, work: Work, copied: list[str]
) -> None:
    cloud.fail("volumes.revert_to_snapshot", error=REFUSED)
    (snapshot,) = cloud.volume_snapshots
    remove(work)
    assert copied == [snapshot]
    assert len(cloud.volume_snapshots) == 0
    said = Remark.COPIED_BACK.read(work)
    assert said is not None
    assert "copied back from its safety snapshot" in said
    assert "must be equal to the snapshot size" in said


def test_a_cinder_in_trouble_is_no_reason_to_copy(
    cloud: FakeClient, work: Work, copied: list[str]
) -> None:
    cloud.fail("volumes.revert_to_snapshot")
    with pytest.raises(CloudError):
        remove(work)
    assert copied == []
    assert len(cloud.volume_snapshots) == 1


def test_if_copying_fails_too_the_way_out_is_named(
    cloud: FakeClient, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_back(*_: Any) -> None:
        raise HostError("no device appeared.")

    monkeypatch.setattr(safety_snapshot, "copy_back", copy_back)
    cloud.fail("volumes.revert_to_snapshot", error=REFUSED)
    (snapshot,) = cloud.volume_snapshots
    with pytest.raises(ChangedError) as raised:
        remove(work)
    said = str(raised.value)
    assert "must be equal to the snapshot size" in said
    assert "no device appeared" in said
    assert f"openstack volume create --snapshot {snapshot}" in said
    assert snapshot in cloud.volume_snapshots


def test_the_volume_from_the_safety_snapshot_is_made_once_and_removed(
    cloud: FakeClient, work: Work
) -> None:
    (snapshot,) = cloud.volume_snapshots
    shown = work.cinder.snapshots.get(snapshot)
    step = SafetyVolume(work)
    made = step.execute(shown, "nova")
    assert step.execute(shown, "nova") == made
    assert cloud.volumes[made]["snapshot_id"] == snapshot
    step.revert()
    assert made not in cloud.volumes
