"""What is undone, overwritten or deleted late must be as volflow left it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import Entry, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.errors import ChangedError
from volflow.repositories.manifest import Manifest
from volflow.tasks.attachment import Attachment
from volflow.tasks.claim import Claim
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.work import Work

BACKED_UP = "00000000-0000-4000-8000-0000000010e7"
LATER = "2099-01-01T00:00:00.000000"

Change = Callable[[FakeClient, str], object]


def used(cloud: FakeClient, volume: str) -> None:
    """Somebody has attached it, written to it and detached it."""
    cloud.volumes[volume]["updated_at"] = LATER


def extended(cloud: FakeClient, volume: str) -> None:
    cloud.volumes[volume].update(updated_at=LATER, size=2)


def attached(cloud: FakeClient, volume: str) -> None:
    cloud.attach(volume, server="a-server")


CHANGES: list[tuple[Change, str]] = [
    (used, "changed by somebody else at 2099-01-01T00:00:00.000000"),
    (extended, "its size was 1 and is 2"),
    (attached, "is attached elsewhere"),
]


@pytest.fixture
def target(cloud: FakeClient) -> str:
    return cloud.put()


def overwritten(state: State, cloud: FakeClient, target: str) -> Work:
    """A restore in place that has begun to write, and is killed."""
    work = work_of(state, cloud, target)
    Claim(work, target).execute()
    SafetySnapshot(work).execute(target)
    Attachment(work).execute(target)
    SafetySnapshot(work).overwriting(target)
    return work


def failed(state: State, cloud: FakeClient, target: str) -> Work:
    """A restore in place that could not bring its target back."""
    work = overwritten(state, cloud, target)
    cloud.fail("volumes.revert_to_snapshot")
    for step in (Attachment, SafetySnapshot):
        step.dispose(work, work.tag(step.kind))
    cloud.recover()
    cloud.done.clear()
    return work


def entry(work: Work, kind: str) -> Entry:
    found = work.services.ledger.find(work.tag(kind))
    assert found is not None
    return found


def reverts(cloud: FakeClient) -> int:
    return sum(one.startswith("volumes.revert_to_snapshot") for one in cloud.done)


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_volume_in_use_since_is_not_reverted_unless_a_person_agrees(
    state: State, cloud: FakeClient, target: str, change: Change, named: str
) -> None:
    work = failed(state, cloud, target)
    change(cloud, target)
    with pytest.raises(ChangedError, match=named):
        SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    assert reverts(cloud) == 0
    assert entry(work, SafetySnapshot.kind).details["changed"]
    work.changed_too = True
    SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    assert reverts(cloud) == 1


def test_a_volume_as_it_was_left_is_reverted_late(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = failed(state, cloud, target)
    # Neither a snapshot of the volume nor a change of its metadata matters.
    cloud.put(volume_id=target)
    cloud.volumes[target]["metadata"]["mine"] = "yes"
    SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    assert reverts(cloud) == 1


@pytest.mark.parametrize("change", [used, extended])
def test_with_the_run_s_own_attachment_nobody_else_can_have_written(
    state: State, cloud: FakeClient, target: str, change: Change
) -> None:
    work = overwritten(state, cloud, target)
    change(cloud, target)
    for step in (Attachment, SafetySnapshot):
        step.remove(work, entry(work, step.kind))
        work.services.ledger.gone(work.tag(step.kind))
    assert reverts(cloud) == 1


def test_a_volume_with_several_attachments_is_compared_also_while_attached(
    state: State, cloud: FakeClient, target: str
) -> None:
    cloud.volumes[target]["multiattach"] = True
    work = overwritten(state, cloud, target)
    used(cloud, target)
    Attachment.dispose(work, work.tag(Attachment.kind))
    with pytest.raises(ChangedError, match="changed by somebody else"):
        SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))


@pytest.mark.parametrize("change", [used, attached])
def test_a_resume_does_not_overwrite_what_was_used_since(
    state: State, cloud: FakeClient, target: str, change: Change
) -> None:
    work = overwritten(state, cloud, target)
    # Somebody has deleted the attachment of the killed process.
    cloud.attachments.delete(str(entry(work, Attachment.kind).resource_id))
    change(cloud, target)
    with pytest.raises(ChangedError, match="nothing is written to it"):
        Attachment(work).execute(target)
    assert len(cloud.attachments) == (change is attached)


def test_a_run_without_a_record_asks(state: State, cloud: FakeClient, target: str) -> None:
    work = failed(state, cloud, target)
    # An earlier release recorded nothing.
    state.ledger.intend(
        work.tag("overwrite"),
        run_id=work.services.run_id,
        item=target,
        kind="overwrite",
        details={},
    )
    with pytest.raises(ChangedError, match="did not record how it left it"):
        SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))


def killed_in_revert(state: State, cloud: FakeClient, target: str) -> Work:
    """A process has requested a revert, and was killed before its end."""
    work = failed(state, cloud, target)

    def killed(*_: Any) -> None:
        # Cinder has changed the volume and the snapshot, and the process could not record that.
        snapshot = str(entry(work, SafetySnapshot.kind).resource_id)
        for one in (cloud.volumes[target], cloud.volume_snapshots[snapshot]):
            one["updated_at"] = "2026-01-02T00:00:00.000000"
        cloud.fail("volumes.get")

    cloud.after("volumes.revert_to_snapshot", killed)
    with pytest.raises(Exception, match="refused"):
        SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    cloud.recover()
    return work


def test_a_process_killed_while_it_reverts_does_not_ask(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = killed_in_revert(state, cloud, target)
    SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    assert reverts(cloud) == 2


def test_a_volume_in_use_since_the_end_of_a_revert_needs_a_person(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = killed_in_revert(state, cloud, target)
    cloud.volumes[target]["updated_at"] = "2026-01-02T00:00:04.000000"
    with pytest.raises(ChangedError, match="changed by somebody else"):
        SafetySnapshot.remove(work, entry(work, SafetySnapshot.kind))
    assert reverts(cloud) == 1


# New volumes


def new_volume(state: State, cloud: FakeClient) -> tuple[Work, str]:
    """A new volume of a failed restore that could not be deleted."""
    work = work_of(state, cloud, BACKED_UP)
    shown = cloud.volumes.create(name="data", description="").to_dict()
    manifest = SimpleNamespace(volume=shown, size_gib=1)
    volume = NewVolume(work, cast(Manifest, manifest)).execute()
    Attachment(work).execute(volume)
    cloud.fail("volumes.delete")
    for step in (Attachment, NewVolume):
        step.dispose(work, work.tag(step.kind))
    cloud.recover()
    return work, volume


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_new_volume_in_use_is_not_deleted_unless_a_person_agrees(
    state: State, cloud: FakeClient, change: Change, named: str
) -> None:
    work, volume = new_volume(state, cloud)
    change(cloud, volume)
    with pytest.raises(ChangedError, match=named):
        NewVolume.remove(work, entry(work, NewVolume.kind))
    assert volume in cloud.volumes
    work.changed_too = True
    NewVolume.remove(work, entry(work, NewVolume.kind))
    assert volume not in cloud.volumes


def test_a_new_volume_as_it_was_left_is_deleted_late(state: State, cloud: FakeClient) -> None:
    work, volume = new_volume(state, cloud)
    NewVolume.remove(work, entry(work, NewVolume.kind))
    assert volume not in cloud.volumes


def test_what_cinder_itself_changes_in_a_volume_that_it_has_just_made_is_no_change(
    state: State, cloud: FakeClient
) -> None:
    work = work_of(state, cloud, BACKED_UP)
    was = cloud.volumes.create(name="data", description="").to_dict()
    manifest = SimpleNamespace(volume=was, size_gib=1)
    volume = NewVolume(work, cast(Manifest, manifest)).execute()
    shown = cloud.volumes[volume]
    made_at = datetime.fromisoformat(str(shown["updated_at"] or shown["created_at"]))
    shown["updated_at"] = (made_at + timedelta(seconds=1)).isoformat()
    Attachment(work).execute(volume)
    Attachment.dispose(work, work.tag(Attachment.kind))
    NewVolume.remove(work, entry(work, NewVolume.kind))
    assert volume not in cloud.volumes


def test_a_new_volume_without_its_mark_is_left_to_the_tenant(
    state: State, cloud: FakeClient
) -> None:
    work, volume = new_volume(state, cloud)
    cloud.volumes.delete_metadata(volume, ["volflow"])
    with pytest.raises(ChangedError, match="no longer carries the mark"):
        NewVolume.remove(work, entry(work, NewVolume.kind))
    work.changed_too = True
    NewVolume.remove(work, entry(work, NewVolume.kind))
    assert volume in cloud.volumes
