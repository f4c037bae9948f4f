"""The device of a volume: proved before it is used, and gone when it is disconnected."""

from __future__ import annotations

from typing import Any, cast

import pytest

from persistence import EntryState, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import Host, end, work_of
from volflow.cloud.marks import TEMPORARY
from volflow.errors import HostError
from volflow.host.identity import boot_id, host_name, machine_id
from volflow.runs import leftovers
from volflow.tasks import device as device_module
from volflow.tasks.attachment import Attachment
from volflow.tasks.device import Device
from volflow.tasks.work import Work


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for the kernel, and no pause between the attempts to remove something."""
    monkeypatch.setattr(device_module, "_GONE_WITHIN", 0.0)
    monkeypatch.setattr("volflow.tasks.base.time.sleep", lambda seconds: None)


def host_of(work: Work) -> Host:
    return cast(Host, cast(Any, work.services.host))


def attached(state: State, cloud: FakeClient) -> tuple[Work, str, str]:
    """A temporary volume with an attachment: its work, its id and that of the attachment."""
    work = work_of(state, cloud, cloud.put())
    volume_id = cloud.put(work.tag(TEMPORARY))
    return work, volume_id, Attachment(work).execute(volume_id)


def test_a_device_that_appears_with_the_attachment_is_the_volume(
    state: State, cloud: FakeClient
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    assert Device(work).execute(attachment_id, volume_id) == "/dev/standin"
    assert cloud.attachments[attachment_id]["status"] == "attached"


def test_a_device_that_was_there_before_is_refused_and_left_alone(
    state: State, cloud: FakeClient
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    host_of(work).device.sequence = host_of(work).newest
    with pytest.raises(HostError, match=r"not volume .*: standin existed before"):
        Device(work).execute(attachment_id, volume_id)
    Attachment(work).revert()
    assert not [one for one in cloud.done if one.startswith("disconnect")]
    assert len(cloud.attachments) == 0
    assert state.ledger.open() == []


def test_a_device_is_that_of_one_volume_only(state: State, cloud: FakeClient) -> None:
    first, volume_id, attachment_id = attached(state, cloud)
    Device(first).execute(attachment_id, volume_id)
    second, volume_id, attachment_id = attached(state, cloud)
    with pytest.raises(HostError, match=f"connected as that of volume {first.volume_id}"):
        Device(second).execute(attachment_id, volume_id)


@pytest.mark.parametrize("size", [1024**3 - 512, 2 * 1024**3, 9 * 1024**3])
def test_a_device_of_another_size_is_refused(state: State, cloud: FakeClient, size: int) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    host_of(work).device.size = size
    with pytest.raises(HostError, match=f"it has {size} bytes, and the volume has {1024**3}"):
        Device(work).execute(attachment_id, volume_id)


def test_a_device_that_stays_keeps_its_attachment(state: State, cloud: FakeClient) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    Device(work).execute(attachment_id, volume_id)
    # os-brick logs what it cannot remove, and returns.
    host_of(work).left = ["/dev/standin"]
    Attachment(work).revert()
    assert attachment_id in cloud.attachments
    kinds = {entry.kind: entry.reason for entry in state.ledger.leftovers()}
    assert "/dev/standin still exists after the disconnect" in str(kinds["device"])
    assert "stays, because its device /dev/standin is still connected" in str(kinds["attachment"])

    host_of(work).left = []
    end(state, work)
    assert [leftovers.clean(work, one) for one in leftovers.known(state)] == [None, None]
    assert len(cloud.attachments) == 0


def test_a_device_that_cinder_has_not_removed_is_a_leftover(
    state: State, cloud: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    monkeypatch.setattr(host_of(work).connector, "ends_with_attachment", lambda connection: True)
    Device(work).execute(attachment_id, volume_id)
    host_of(work).left = ["/dev/standin"]  # somebody has opened it
    Attachment(work).revert()
    assert len(cloud.attachments) == 0
    (entry,) = state.ledger.leftovers()
    assert (entry.kind, entry.resource_id) == ("attachment", attachment_id)
    assert "/dev/standin still exists" in str(entry.reason)
    host_of(work).left = []
    end(state, work)
    assert [leftovers.clean(work, one) for one in leftovers.known(state)] == [None]


def test_a_device_that_another_attachment_of_the_volume_uses_is_no_leftover(
    state: State, cloud: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    monkeypatch.setattr(host_of(work).connector, "ends_with_attachment", lambda connection: True)
    Device(work).execute(attachment_id, volume_id)
    other = cloud.attach(volume_id, server="of somebody else")
    host_of(work).left = ["/dev/standin"]
    Attachment(work).revert()
    assert list(cloud.attachments) == [other]
    assert state.ledger.leftovers() == []


def test_a_flush_fails_while_the_device_stays(state: State, cloud: FakeClient) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    Device(work).execute(attachment_id, volume_id)
    host_of(work).left = ["/dev/standin"]
    with pytest.raises(HostError, match="still exists after the disconnect"):
        Device.flush(work)


def test_a_device_is_disconnected_although_somebody_deleted_its_attachment(
    state: State, cloud: FakeClient
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    Device(work).execute(attachment_id, volume_id)
    cloud.attachments.delete(attachment_id)
    work._connections.clear()
    Device(work).revert()
    assert "disconnect (discard)" in cloud.done
    assert state.ledger.find(work.tag(Device.kind)).state is EntryState.GONE  # type: ignore[union-attr]


def test_a_resume_elsewhere_leaves_the_device_to_its_own_host(
    state: State, cloud: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, volume_id, attachment_id = attached(state, cloud)
    Device(work).execute(attachment_id, volume_id)
    entry = state.ledger.find(work.tag(Device.kind))
    assert entry is not None
    Device(work).intend(**entry.details | {"host": "far-away", "machine_id": "m", "boot_id": "b"})
    cloud.done.clear()
    # The run continues with an attachment of this host.
    second = Attachment(work).execute(volume_id)
    Device(work).execute(second, volume_id)
    Attachment(work).revert()
    end(state, work)
    (left,) = leftovers.known(state)
    assert left.kind == "device@far-away"
    assert "far-away: run 'volflow leftover clean' there" in str(leftovers.clean(work, left))

    # On that host, the device can be disconnected without the attachment.
    monkeypatch.setattr(device_module, "boot_id", lambda: "b")
    cloud.done.clear()
    assert leftovers.clean(work, left) is None
    assert cloud.done == ["disconnect (discard)"]
    assert leftovers.known(state) == []


@pytest.mark.parametrize(
    ("details", "ended"),
    [
        ({"host": host_name(), "machine_id": machine_id(), "boot_id": "earlier"}, True),
        ({"host": host_name(), "boot_id": "earlier"}, True),
        ({"host": host_name(), "machine_id": "of another", "boot_id": "earlier"}, False),
        ({"host": "another", "machine_id": machine_id(), "boot_id": "earlier"}, False),
        ({"host": host_name(), "machine_id": machine_id(), "boot_id": boot_id()}, False),
    ],
)
def test_only_an_earlier_boot_of_this_host_proves_a_device_gone(
    state: State, cloud: FakeClient, details: dict[str, str], ended: bool
) -> None:
    entry = Device(work_of(state, cloud, "volume")).intend(attachment_id="one", **details)
    assert Device.ended(entry) is ended
