"""Leftovers, and how `leftover clean` treats those that only Cinder knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import end, work_of
from volflow.cloud.marks import KEPT
from volflow.cloud.ownership import safety_name, temporary_name
from volflow.errors import ChangedError
from volflow.host.identity import host_name
from volflow.runs import leftovers
from volflow.runs.leftovers import Leftover
from volflow.tasks.claim import Claim
from volflow.tasks.device import Device
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.snapshot import Snapshot

UNKNOWN = "00000000-0000-4000-8000-000000000000"
LOST = "00000000-0000-4000-8000-0000000010e7"
DAY = timedelta(days=1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@pytest.fixture
def cloud() -> FakeClient:
    return FakeClient()


def lost(state: State, cloud: FakeClient) -> list[Leftover]:
    return leftovers.lost(state, cloud.cinder())


def clean(state: State, cloud: FakeClient, found: list[Leftover]) -> list[str | None]:
    return [
        leftovers.clean_lost(work_of(state, cloud, one.volume_id, UNKNOWN), one, older_than=DAY)
        for one in found
    ]


def test_a_kept_volume_of_a_lost_database_loses_its_mark_alone(
    state: State, cloud: FakeClient
) -> None:
    volume = cloud.put(f"{UNKNOWN}/{LOST}/{KEPT}")
    stranger = cloud.attach(volume)
    (found,) = lost(state, cloud)
    assert clean(state, cloud, [found]) == [None]
    assert cloud.tag(volume) is None
    assert set(cloud.attachments) == {stranger}


def test_a_new_volume_of_a_lost_database_is_deleted(state: State, cloud: FakeClient) -> None:
    volume = cloud.put(f"{UNKNOWN}/{LOST}/{NewVolume.kind}")
    cloud.volumes.set_metadata(volume, {"volflow_id": volume})
    assert clean(state, cloud, lost(state, cloud)) == [None]
    assert volume not in cloud.volumes


def test_what_came_after_its_run_had_ended_is_found(state: State, cloud: FakeClient) -> None:
    source = cloud.put()
    work = work_of(state, cloud, source)
    step = Snapshot(work)
    step.intend(volume_id=source)
    step.revert()
    # Cinder carries out the request late.
    late = cloud.put(step.tag, volume_id=source, name=temporary_name(work.services.run_id))
    assert lost(state, cloud) == []
    end(state, work)
    (found,) = lost(state, cloud)
    assert found.resource_id == late
    assert found.ended
    # The run has ended, so nothing uses the snapshot, however new it is.
    assert leftovers.clean_lost(work, found, older_than=timedelta(days=99999)) is None
    assert late not in cloud.volume_snapshots


def test_what_stands_in_the_ledger_is_not_found_twice(state: State, cloud: FakeClient) -> None:
    source = cloud.put()
    work = work_of(state, cloud, source)
    Snapshot(work).intend(volume_id=source)
    name = temporary_name(work.services.run_id)
    cloud.put(work.tag(Snapshot.kind), volume_id=source, name=name)
    NewVolume(work, None).intend()  # type: ignore[arg-type]
    cloud.put(work.tag(KEPT))
    end(state, work)
    assert len(leftovers.known(state)) == 2
    assert lost(state, cloud) == []


def test_a_late_double_of_a_kept_volume_is_deleted_and_the_volume_is_not(
    state: State, cloud: FakeClient
) -> None:
    work = work_of(state, cloud, LOST)
    new = NewVolume(work, cast(Any, SimpleNamespace(volume={"metadata": {}})))
    new.intend()
    volume = cloud.put(new.tag)
    new.present(volume, made_at=cloud.volumes[volume]["created_at"])
    new.keep(volume)
    double = cloud.put(new.tag)
    # The volume has its old tag, as in an outdated list.
    cloud.volumes.set_metadata(volume, {"volflow": new.tag})
    end(state, work)
    assert clean(state, cloud, lost(state, cloud)) == [None, None]
    assert volume in cloud.volumes
    assert double not in cloud.volumes


def test_a_restore_into_a_volume_whose_database_is_lost_is_left_to_the_operator(
    state: State, cloud: FakeClient
) -> None:
    volume = cloud.put(f"{UNKNOWN}/{LOST}/{Claim.kind}")
    mark = f"{UNKNOWN}/{LOST}/{SafetySnapshot.kind}"
    cloud.put(mark, volume_id=volume, name=safety_name(UNKNOWN))
    troubles = clean(state, cloud, lost(state, cloud))
    assert len(troubles) == 2
    assert all("check whether the volume is intact" in str(trouble) for trouble in troubles)
    assert cloud.tag(volume)


@pytest.mark.parametrize(
    "mark", ["foo", "foo/bar", f"{UNKNOWN}/{LOST}/other", "team/web/volume", "a/b/c/d"]
)
def test_what_carries_no_run_s_tag_is_left_alone(
    state: State, cloud: FakeClient, mark: str
) -> None:
    cloud.put(mark)
    assert lost(state, cloud) == []


@pytest.mark.parametrize("kind", ["volume", "snapshot", "target"])
def test_what_cannot_be_volflow_s_is_listed_and_never_removed(
    state: State, cloud: FakeClient, kind: str
) -> None:
    source = cloud.put()
    mark = f"{UNKNOWN}/{source}/{kind}"
    if kind == "snapshot":
        mine = cloud.put(mark, volume_id=source, name="mine")
    else:
        mine = cloud.put(mark, name="mine", source_volid=source)
    (found,) = lost(state, cloud)
    assert found.resource_id == mine
    assert "volflow did not make it" in found.reason
    (trouble,) = clean(state, cloud, [found])
    assert "volflow did not make it" in str(trouble)
    assert mine in (cloud.volume_snapshots if kind == "snapshot" else cloud.volumes)


def test_a_device_of_another_host_stays_a_leftover_of_that_host(
    state: State, cloud: FakeClient
) -> None:
    work = work_of(state, cloud, "volume")
    Device(work).intend(host="far-away", boot_id="now", attachment_id="one")
    end(state, work)
    (found,) = leftovers.known(state)
    why = "connected to host far-away: run 'volflow leftover clean' there"
    assert why in str(leftovers.clean(work, found))
    assert leftovers.known(state) == [found]
    leftovers._forget_devices(work, found, ["another"])
    assert leftovers.known(state) == [found]
    # A person says that it was rebooted.
    leftovers._forget_devices(work, found, ["far-away"])
    assert leftovers.clean(work, found) is None
    assert leftovers.known(state) == []


def test_a_device_of_an_earlier_boot_is_said_to_be_gone(state: State, cloud: FakeClient) -> None:
    work = work_of(state, cloud, "volume")
    Device(work).intend(host=host_name(), boot_id="earlier", attachment_id="one")
    end(state, work)
    (found,) = leftovers.known(state)
    assert "gone with an earlier boot" in found.removed


@pytest.mark.parametrize("use", ["attached", "used and detached"])
def test_a_new_volume_of_a_lost_database_that_somebody_uses_needs_a_person(
    state: State, cloud: FakeClient, use: str
) -> None:
    volume = cloud.put(f"{UNKNOWN}/{LOST}/{NewVolume.kind}")
    cloud.volumes.set_metadata(volume, {"volflow_id": volume})
    attachments = set()
    if use == "attached":
        attachments = {cloud.attach(volume)}
    else:
        cloud.volumes[volume]["updated_at"] = datetime.now(UTC).replace(tzinfo=None).isoformat()
        cloud.volumes[volume]["created_at"] = "2020-01-01T00:00:00.000000"
    (found,) = lost(state, cloud)
    with pytest.raises(ChangedError, match="somebody may use it"):
        clean(state, cloud, [found])
    assert set(cloud.attachments) == attachments
    work = replace(work_of(state, cloud, found.volume_id, UNKNOWN), changed_too=True)
    assert leftovers.clean_lost(work, found, older_than=timedelta(0)) is None
    assert volume not in cloud.volumes
