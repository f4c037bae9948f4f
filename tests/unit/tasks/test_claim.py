"""The claim on a volume: which run holds it, until when, and what it allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from persistence import EntryState, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import end, work_of
from volflow.cloud.marks import KEPT, TAG_KEY
from volflow.disk.filesystem import FileSystem
from volflow.errors import VolumeStateError
from volflow.host.identity import boot_id, host_name
from volflow.repositories.manifest import Manifest
from volflow.runs import leftovers
from volflow.tasks import as_left
from volflow.tasks.as_left import is_half_written
from volflow.tasks.attachment import Attachment
from volflow.tasks.claim import Claim
from volflow.tasks.device import Device
from volflow.tasks.filesystem import MakeFileSystem
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work

LOST = "00000000-0000-4000-8000-0000000010e7"
ANOTHER = f"00000000-0000-4000-8000-000000000001/{LOST}/claim"


def manifest(**metadata: str) -> Manifest:
    """The manifest of a volume that had this metadata."""
    return cast(Manifest, SimpleNamespace(volume={"metadata": metadata}))


@pytest.fixture
def target(cloud: FakeClient) -> str:
    return cloud.put()


def begun(work: Work, target: str) -> tuple[Claim, SafetySnapshot]:
    """A restore that has begun to overwrite its target."""
    claim, safety = Claim(work, target), SafetySnapshot(work)
    claim.execute()
    safety.execute(target)
    safety.overwriting(target)
    return claim, safety


def half_written(state: State, cloud: FakeClient, target: str) -> Work:
    """A failed restore that could not bring its target back."""
    work = work_of(state, cloud, target)
    claim, safety = begun(work, target)
    cloud.fail("volumes.revert_to_snapshot")
    safety.revert()
    claim.revert()
    cloud.recover()
    end(state, work)
    return work


def clean(state: State, work: Work) -> list[str | None]:
    return [leftovers.clean(work, one) for one in leftovers.known(state)]


def test_a_restore_that_fails_takes_the_mark_off(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    claim, safety = begun(work, target)
    safety.revert()
    claim.revert()
    assert not is_half_written(work)
    assert any(one.startswith("volumes.revert_to_snapshot") for one in cloud.done)
    assert cloud.tag(target) is None
    assert state.ledger.open() == []


def test_a_half_written_volume_stays_marked_until_it_is_brought_back(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = half_written(state, cloud, target)
    assert cloud.tag(target) == work.tag(Claim.kind)
    assert {entry.kind for entry in state.ledger.leftovers()} == {"safety snapshot", "claim"}

    second = Claim(work_of(state, cloud, target), target)
    with pytest.raises(VolumeStateError, match=r"being restored by another run.*leftover clean"):
        second.execute()
    second.revert()
    assert cloud.tag(target) == work.tag(Claim.kind)

    assert clean(state, work) == [None, None]
    assert cloud.tag(target) is None
    assert cloud.done[-3].startswith(f"volumes.revert_to_snapshot {target} ")
    assert state.ledger.leftovers() == []


def test_nothing_is_rolled_back_once_the_mark_is_off(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = half_written(state, cloud, target)
    # Somebody has removed the mark, and put good data on the volume.
    cloud.volumes.delete_metadata(target, [TAG_KEY])
    cloud.done.clear()
    troubles = clean(state, work)
    assert troubles[1] is None
    assert "no longer carries the tag of this run" in str(troubles[0])
    assert cloud.done == []
    (snapshot,) = cloud.volume_snapshots
    # They have checked the volume and deleted the snapshot.
    cloud.volume_snapshots.delete(snapshot)
    assert clean(state, work) == [None]
    assert leftovers.known(state) == []


def test_of_two_claims_at_once_one_is_refused(state: State, cloud: FakeClient, target: str) -> None:
    first, second = (Claim(work_of(state, cloud, target), target) for _ in range(2))

    cloud.after(
        "volumes.set_metadata", lambda: cloud.volumes.set_metadata(target, {TAG_KEY: second.tag})
    )
    with pytest.raises(VolumeStateError, match="being restored by another run"):
        first.execute()
    first.revert()
    assert cloud.tag(target) == second.tag
    assert second.execute() == target


@pytest.mark.parametrize("server", ["a-server", None])
def test_nothing_is_written_to_what_is_attached_elsewhere(
    state: State, cloud: FakeClient, target: str, server: str | None
) -> None:
    work = work_of(state, cloud, target)
    claim, safety = Claim(work, target), SafetySnapshot(work)
    claim.execute()
    safety.execute(target)
    mine = Attachment(work).execute(target)
    other = cloud.attach(target, server=server)
    step = MakeFileSystem(work, FileSystem("ext4", ""), safety=safety)
    with pytest.raises(VolumeStateError, match=f"attached elsewhere.*{other}"):
        step.execute("/dev/nowhere", target, mine)
    assert not is_half_written(work)
    # The same holds when the run is resumed later.
    with pytest.raises(VolumeStateError, match=f"attached elsewhere.*{other}"):
        Attachment(work).execute(target)


def test_nothing_is_written_to_what_another_run_has_marked(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    Claim(work, target).execute()
    safety = SafetySnapshot(work)
    safety.execute(target)
    mine = Attachment(work).execute(target)
    cloud.volumes.set_metadata(target, {TAG_KEY: ANOTHER})
    step = MakeFileSystem(work, FileSystem("ext4", ""), safety=safety)
    with pytest.raises(VolumeStateError, match="that of another"):
        step.execute("/dev/nowhere", target, mine)
    assert not is_half_written(work)


def test_of_a_claimed_volume_only_its_own_attachment_is_ended(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    Claim(work, target).execute()
    attachment = Attachment(work)
    attachment.execute(target)
    others = {cloud.attach(target), cloud.attach(target, server="a-server")}
    attachment.revert()
    assert set(cloud.attachments) == others


def test_an_attachment_whose_answer_was_lost_is_ended(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    Claim(work, target).execute()
    attachment = Attachment(work)
    attachment.intend(volume_id=target)
    cloud.attach(target, status="attaching")
    other = cloud.attach(target)
    attachment.revert()
    assert set(cloud.attachments) == {other}


def test_of_a_temporary_volume_every_attachment_is_ended(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    made = cloud.put(work.tag(TemporaryVolume.kind))
    attachment = Attachment(work)
    attachment.execute(made)
    # An attachment of a dead host.
    cloud.attach(made)
    attachment.revert()
    assert len(cloud.attachments) == 0


def test_of_a_new_volume_an_attachment_that_somebody_has_completed_stays(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    made = cloud.put(work.tag(NewVolume.kind))
    attachment = Attachment(work)
    attachment.intend(volume_id=made)
    cloud.attach(made, status="attaching")
    other = cloud.attach(made)
    attachment.revert()
    assert set(cloud.attachments) == {other}


def test_a_resume_disconnects_the_device_before_it_attaches_anew(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    made = cloud.put(work.tag(TemporaryVolume.kind))
    first = Attachment(work).execute(made)
    device = Device(work)
    device.intend(host=host_name(), boot_id=boot_id(), attachment_id=first)
    cloud.done.clear()
    Attachment(work).execute(made)
    assert cloud.done == [
        "disconnect",
        f"attachments.delete {first}",
        f"attachments.create {made}",
    ]


def test_a_device_of_another_boot_is_not_disconnected(
    state: State, cloud: FakeClient, target: str
) -> None:
    work = work_of(state, cloud, target)
    made = cloud.put(work.tag(TemporaryVolume.kind))
    first = Attachment(work).execute(made)
    Device(work).intend(host=host_name(), boot_id="earlier", attachment_id=first)
    cloud.done.clear()
    Attachment(work).execute(made)
    assert cloud.done == [f"attachments.delete {first}", f"attachments.create {made}"]


@pytest.mark.parametrize(
    "value", ["hello", "", "team/web/volume", "00000000-0000-4000-8000-000000000000/{}/volume"]
)
def test_what_a_tenant_has_under_the_key_is_put_back(
    state: State, cloud: FakeClient, target: str, value: str
) -> None:
    mine = value.format(target)
    cloud.volumes.set_metadata(target, {TAG_KEY: mine})
    work = work_of(state, cloud, target)
    claim = Claim(work, target)
    claim.execute()
    assert cloud.tag(target) == claim.tag
    # A process that was killed in between does it again.
    claim.execute()
    claim.revert()
    assert cloud.tag(target) == mine


@pytest.mark.parametrize("value", ["hello", None])
def test_a_new_volume_gets_the_tenant_s_value_of_the_key(
    state: State, cloud: FakeClient, value: str | None
) -> None:
    work = work_of(state, cloud, LOST)
    new = NewVolume(work, manifest(**({TAG_KEY: value} if value else {})))
    new.intend()
    volume = cloud.put(new.tag)
    new.present(volume)
    new.keep(volume)
    assert cloud.tag(volume) == value


# Volumes that are kept


def kept(state: State, cloud: FakeClient, *refused: str) -> tuple[Work, str]:
    """A new volume that belongs to the tenant, but its mark could not be removed."""
    work = work_of(state, cloud, LOST)
    new = NewVolume(work, manifest())
    new.intend()
    volume = cloud.put(new.tag)
    new.present(volume)
    cloud.fail(*refused)
    new.keep(volume)
    cloud.recover()
    return work, volume


def test_a_kept_volume_loses_its_mark(state: State, cloud: FakeClient) -> None:
    _, volume = kept(state, cloud)
    assert cloud.tag(volume) is None


def test_a_kept_volume_is_marked_as_such_until_its_mark_is_off(
    state: State, cloud: FakeClient
) -> None:
    work, volume = kept(state, cloud, "volumes.delete_metadata")
    assert cloud.tag(volume) == work.tag(KEPT)
    (entry,) = state.ledger.leftovers()
    assert entry.kind == NewVolume.kind
    end(state, work)
    # Another run may restore into it, because it is complete.
    other = Claim(work_of(state, cloud, volume), volume)
    other.execute()
    assert clean(state, work) == [None]
    assert cloud.tag(volume) == other.tag


def test_a_volume_that_was_marked_as_kept_and_is_not_is_deleted(
    state: State, cloud: FakeClient
) -> None:
    work = work_of(state, cloud, LOST)
    new = NewVolume(work, manifest())
    new.intend()
    # The process was killed between the mark and the ledger.
    volume = cloud.put(work.tag(KEPT))
    new.present(volume, **as_left.begun())
    new.revert()
    assert volume not in cloud.volumes


def test_of_a_volume_that_was_made_twice_one_is_kept(state: State, cloud: FakeClient) -> None:
    work = work_of(state, cloud, LOST)
    new = NewVolume(work, manifest())
    new.intend()
    first, second = cloud.put(new.tag), cloud.put(new.tag)
    new.present(first, made_at=cloud.volumes[first]["created_at"])
    new.keep(first)
    assert cloud.tag(first) is None
    assert second not in cloud.volumes
    entry = state.ledger.find(new.tag)
    assert entry is not None
    assert entry.state is EntryState.GONE
