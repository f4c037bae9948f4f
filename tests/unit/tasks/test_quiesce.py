"""Guests are frozen around the snapshot and nothing else, and always thawed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.guest import Guest
from tests.support.waiting import LIMIT, until
from tests.support.work import work_of
from volflow.errors import CloudError, HostError, StoppedError
from volflow.host.freeze import Quiesce
from volflow.tasks.group import GroupSnapshot
from volflow.tasks.remarks import remarks
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.work import Work

SERVER = "00000000-0000-4000-8000-0000000000a1"
OTHER = "00000000-0000-4000-8000-0000000000a2"

WorkOf = Callable[..., Work]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.fixture
def quiet(state: State, cloud: FakeClient, guest: Guest, monkeypatch: pytest.MonkeyPatch) -> WorkOf:
    """The work of a volume or group, with its guests frozen as the options say."""
    monkeypatch.setattr("volflow.tasks.source._AGAIN", 0.0)

    def of(key: str, **options: Any) -> Work:
        limits = {"limit": LIMIT, "command_limit": LIMIT, **options}
        quiesce = Quiesce([guest.pre], [guest.post], **limits)
        work = work_of(state, cloud, key)
        return replace(work, services=replace(work.services, quiesce=quiesce))

    return of


def attached(cloud: FakeClient, *servers: str, **more: Any) -> str:
    """A volume that is attached to servers."""
    attachments = [{"server_id": each, "device": f"/dev/vd{each[-1]}"} for each in servers]
    return cloud.put(attachments=attachments, **more)


def noting(cloud: FakeClient, guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Cinder note each request for a snapshot, and each look at one that is not ready."""
    create, get = cloud.volume_snapshots.create, cloud.volume_snapshots.get
    looks = iter(range(4))

    def created(*args: Any, **fields: Any) -> Any:
        note(guest, "request")
        return create(*args, **fields)

    def got(snapshot_id: str) -> Any:
        ready = next(looks, None) is None
        cloud.volume_snapshots[snapshot_id]["status"] = "available" if ready else "creating"
        note(guest, "ready" if ready else "look")
        return get(snapshot_id)

    monkeypatch.setattr(cloud.volume_snapshots, "create", created)
    monkeypatch.setattr(cloud.volume_snapshots, "get", got)


def note(guest: Guest, word: str) -> None:
    with guest.log.open("a") as log:
        log.write(f"{word}\n")


def remarks_on(work: Work, volume_id: str | None = None) -> str:
    return " ".join(
        remarks(work.services.ledger, work.services.run_id, volume_id or work.volume_id)
    )


def test_a_guest_is_frozen_until_its_snapshot_is_available(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = quiet(attached(cloud, SERVER))
    noting(cloud, guest, monkeypatch)
    assert Snapshot(work).execute()["status"] == "available"
    assert guest.events() == ["pre", "request", *["look"] * 4, "ready", "post"]
    assert remarks_on(work) == ""


def test_nothing_is_frozen_while_cinder_changes_the_volume(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is attached to afterwards is frozen."""
    volume_id = attached(cloud, SERVER)
    volume = cloud.volumes[volume_id]
    volume["status"] = "attaching"
    get, looks = cloud.volumes.get, iter(range(3))

    def looked(asked: str) -> Any:
        if next(looks, None) is None and volume["status"] == "attaching":
            assert guest.events() == []
            volume.update(status="in-use", attachments=[{"server_id": OTHER}])
        return get(asked)

    monkeypatch.setattr(cloud.volumes, "get", looked)
    Snapshot(quiet(volume_id)).execute()
    assert guest.told("pre")["VOLFLOW_SERVERS"] == OTHER


def test_commands_are_told_of_the_volume_and_its_servers(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    """A tenant chooses the names; they must not look like something else."""
    volume_id = attached(cloud, SERVER, OTHER, name="evil\n\x1b[31mVOLFLOW_RUN=x")
    cloud.volumes[volume_id]["attachments"] += [
        {"server_id": SERVER, "device": "/dev/a,/dev/b"},
        {"server_id": None, "host_name": "a host", "device": "/dev/sdz"},
    ]
    cloud.volumes[volume_id]["os-vol-tenant-attr:tenant_id"] = "a project"
    work = quiet(volume_id)
    Snapshot(work).execute()
    common = {
        "VOLFLOW_RUN": work.services.run_id,
        "VOLFLOW_PROJECT": "a project",
        "VOLFLOW_VOLUME": volume_id,
        "VOLFLOW_VOLUME_NAME": r"evil\n\x1b[31mVOLFLOW_RUN=x",
        "VOLFLOW_VOLUMES": volume_id,
        "VOLFLOW_GROUP": "",
        "VOLFLOW_SERVERS": f"{SERVER},{OTHER}",
        "VOLFLOW_DEVICES": f"{SERVER}:/dev/vd1,{OTHER}:/dev/vd2,{SERVER}:/dev/a?/dev/b",
    }
    for stage in ("pre", "post"):
        assert guest.told(stage) == common | {"VOLFLOW_QUIESCE": stage}


def test_a_group_is_frozen_as_a_whole(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = str(cloud.groups.create("a type", name="shop").id)
    members = [attached(cloud, server, group_id=group) for server in (SERVER, OTHER)]
    create = cloud.group_snapshots.create

    def created(*args: Any, **fields: Any) -> Any:
        note(guest, "request")
        return create(*args, **fields)

    monkeypatch.setattr(cloud.group_snapshots, "create", created)
    step = GroupSnapshot(quiet(group))
    assert set(step.execute()) == set(members)
    assert guest.events() == ["pre", "request", "post"]
    told = guest.told("pre")
    assert (told["VOLFLOW_GROUP"], told["VOLFLOW_VOLUME"]) == (group, "")
    assert set(told["VOLFLOW_VOLUMES"].split(",")) == set(members)
    assert set(told["VOLFLOW_SERVERS"].split(",")) == {SERVER, OTHER}
    step.execute()
    assert guest.events() == ["pre", "request", "post"]


def test_a_failing_freeze_fails_the_volume_and_is_thawed(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    guest.command("pre", "echo no agent", "exit 1")
    with pytest.raises(HostError, match=r"failed with status 1: no agent\nThe volume is not back"):
        Snapshot(quiet(attached(cloud, SERVER))).execute()
    assert guest.events() == ["pre", "post"]
    assert len(cloud.volume_snapshots) == 0


def test_a_failing_freeze_can_be_a_mere_remark(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    guest.command("pre", "echo no agent", "exit 1")
    work = quiet(attached(cloud, SERVER), required=False)
    Snapshot(work).execute()
    assert guest.events() == ["pre", "post"]
    assert "was not quiesced for the snapshot: " in remarks_on(work)
    assert "failed with status 1: no agent" in remarks_on(work)


def test_a_freeze_that_cannot_begin_can_be_a_mere_remark(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    Path(guest.pre).unlink()
    work = quiet(attached(cloud, SERVER), required=False)
    Snapshot(work).execute()
    assert guest.events() == []
    assert "is no program that this user can execute" in remarks_on(work)


def test_a_guest_is_thawed_when_its_snapshot_is_refused(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    work = quiet(attached(cloud, SERVER))
    cloud.fail("volume_snapshots.create", message="no room")
    with pytest.raises(CloudError, match="no room"):
        Snapshot(work).execute()
    cloud.recover()
    assert guest.events() == ["pre", "post"]


def test_a_snapshot_that_takes_too_long_is_doubtful(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes available only after the thaw at the deadline."""
    get = cloud.volume_snapshots.get

    def got(snapshot_id: str) -> Any:
        thawed = "post" in guest.events()
        cloud.volume_snapshots[snapshot_id]["status"] = "available" if thawed else "creating"
        return get(snapshot_id)

    monkeypatch.setattr(cloud.volume_snapshots, "get", got)
    work = quiet(attached(cloud, SERVER), limit=0.5)
    assert Snapshot(work).execute()["status"] == "available"
    assert guest.events() == ["pre", "post"]
    assert "thawed after 0.5 s, before Cinder showed its snapshot" in remarks_on(work)


def test_a_thaw_that_fails_is_told_and_keeps_the_snapshot(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    guest.command("post", "exit 1")
    work = quiet(attached(cloud, SERVER))
    Snapshot(work).execute()
    assert "may still be frozen: thaw it by hand" in remarks_on(work)


def test_a_resumed_step_freezes_nothing_for_a_snapshot_that_exists(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    step = Snapshot(quiet(attached(cloud, SERVER)))
    assert step.execute()["id"] == step.execute()["id"]
    assert guest.events() == ["pre", "post"]
    assert remarks_on(step.work) == ""


def test_a_snapshot_of_a_run_that_was_stopped_while_frozen_is_doubtful(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Snapshot(quiet(attached(cloud, SERVER)))
    with monkeypatch.context() as stopped:

        def stop(*_: Any) -> Any:
            raise StoppedError("Stopped while waiting for the snapshot.")

        stopped.setattr("volflow.cloud.snapshots.Snapshots.wait", stop)
        with pytest.raises(StoppedError):
            step.execute()
    assert guest.events() == ["pre", "post"]
    step.execute()
    assert guest.events() == ["pre", "post"]
    assert "was stopped while the guest was frozen" in remarks_on(step.work)


def test_members_of_a_group_have_the_remarks(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    guest.command("pre", "exit 1")
    group = str(cloud.groups.create("a type", name="shop").id)
    members = [attached(cloud, SERVER, group_id=group) for _ in range(2)]
    work = quiet(group, required=False)
    GroupSnapshot(work).execute()
    for member in members:
        assert "was not quiesced" in remarks_on(work, member)


def test_volumes_of_one_server_are_not_frozen_at_once(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thaw for one would thaw the guest for the other too; other servers do not wait."""
    frozen, go_on = threading.Event(), threading.Event()
    create = cloud.volume_snapshots.create
    first = attached(cloud, SERVER)

    def created(volume_id: str, **fields: Any) -> Any:
        if volume_id == first:
            frozen.set()
            go_on.wait(LIMIT)
        return create(volume_id, **fields)

    monkeypatch.setattr(cloud.volume_snapshots, "create", created)
    steps = [Snapshot(quiet(first)), Snapshot(quiet(attached(cloud, SERVER, OTHER)))]
    threads = [threading.Thread(target=step.execute) for step in steps]
    threads[0].start()
    assert frozen.wait(LIMIT)
    threads[1].start()
    Snapshot(quiet(attached(cloud, OTHER))).execute()
    assert guest.events() == ["pre", "pre", "post"]
    go_on.set()
    for thread in threads:
        thread.join()
    assert guest.events() == ["pre", "pre", "post", "post", "pre", "post"]


def test_waiting_for_another_freeze_ends_when_volflow_is_stopped(
    cloud: FakeClient, guest: Guest, quiet: WorkOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Snapshot(quiet(attached(cloud, SERVER))) for _ in range(2))
    create, troubles = cloud.volume_snapshots.create, list[BaseException]()

    def wait() -> None:
        try:
            second.execute()
        except StoppedError as error:
            troubles.append(error)

    def created(*args: Any, **fields: Any) -> Any:
        thread = threading.Thread(target=wait)
        thread.start()
        second.services.stopping.set()
        thread.join(LIMIT)
        return create(*args, **fields)

    monkeypatch.setattr(cloud.volume_snapshots, "create", created)
    first.execute()
    until(lambda: len(troubles) == 1)
    assert "Stopped while waiting for the thaw" in str(troubles[0])
    assert guest.events() == ["pre", "post"]


def test_without_commands_nothing_is_frozen(state: State, cloud: FakeClient, guest: Guest) -> None:
    Snapshot(work_of(state, cloud, attached(cloud, SERVER))).execute()
    assert guest.events() == []


def test_the_snapshot_of_a_restore_freezes_nothing(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    target = attached(cloud, SERVER)
    Snapshot(quiet(cloud.put()), target).execute()
    assert guest.events() == []


def test_a_snapshot_of_a_volume_without_servers_runs_the_commands_too(
    cloud: FakeClient, guest: Guest, quiet: WorkOf
) -> None:
    Snapshot(quiet(cloud.put())).execute()
    assert guest.told("pre")["VOLFLOW_SERVERS"] == ""
    assert guest.events() == ["pre", "post"]
