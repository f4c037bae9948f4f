"""What a mark is worth: only what volflow has made counts as its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from persistence import Entry, EntryState
from tests.support.fake_cinder import FakeClient
from volflow.cloud import ownership
from volflow.cloud.marks import Mark, tag

RUN = "12345678-0000-4000-8000-000000000000"
OTHER_RUN = "87654321-0000-4000-8000-000000000000"
NAME, SAFETY_NAME = "volflow-12345678", "volflow-safety-12345678"


@pytest.fixture
def cloud() -> FakeClient:
    return FakeClient()


@pytest.fixture
def source(cloud: FakeClient) -> str:
    return cloud.put(name="source")


def snapshot_of(cloud: FakeClient, source: str, kind: str = "snapshot", run: str = RUN) -> str:
    """The snapshot that a run makes of a volume."""
    name = f"volflow-{'safety-' if kind == 'safety snapshot' else ''}{run[:8]}"
    return cloud.put(tag(run, source, kind), volume_id=source, name=name)


def fits(cloud: FakeClient, resource_id: str) -> bool:
    cinder = cloud.cinder()
    volumes = resource_id in cloud.volumes
    return ownership.fits(
        cinder, cinder.volumes.get(resource_id) if volumes else cinder.snapshots.get(resource_id)
    )


def test_what_a_run_makes_is_its_own(cloud: FakeClient, source: str) -> None:
    snapshot = snapshot_of(cloud, source)
    safety = snapshot_of(cloud, source, "safety snapshot")
    mine = [
        snapshot,
        safety,
        cloud.put(tag(RUN, source, "volume"), name=NAME, snapshot_id=snapshot),
        cloud.put(tag(RUN, source, "safety volume"), name=NAME, snapshot_id=safety),
        # A new volume, and a copy of an attached one, have the names of the tenant.
        cloud.put(tag(RUN, source, "target"), name="data"),
        cloud.put(tag(RUN, source, "target"), name="data", snapshot_id=snapshot),
        cloud.put(tag(RUN, source, "claim"), name="data"),
        cloud.put(tag(RUN, source, "kept"), name="data", source_volid=source),
    ]
    assert [one for one in mine if not fits(cloud, one)] == []


def test_a_temporary_volume_is_known_when_its_snapshot_is_gone(
    cloud: FakeClient, source: str
) -> None:
    made = cloud.put(tag(RUN, source, "volume"), name=NAME, snapshot_id="gone")
    assert fits(cloud, made)


def test_a_volume_from_a_group_snapshot_is_known(cloud: FakeClient, source: str) -> None:
    snapshot = cloud.put(
        volume_id=source,
        name=NAME,
        group_snapshot_id="one",
        description=tag(RUN, OTHER_RUN, "group snapshot"),
    )
    assert fits(cloud, cloud.put(tag(RUN, source, "volume"), name=NAME, snapshot_id=snapshot))


FORGED_VOLUMES: list[tuple[str, dict[str, Any]]] = [
    # What a tenant writes on a volume of his own.
    ("volume", {"name": "data"}),
    ("volume", {"name": NAME}),
    ("volume", {"name": "data", "snapshot_id": "gone"}),
    ("safety volume", {"name": NAME}),
    ("safety volume", {"name": NAME, "snapshot_id": "gone"}),
    ("snapshot", {"name": NAME}),
    ("safety snapshot", {"name": SAFETY_NAME}),
    # What a tool copies with the metadata of one of volflow's volumes.
    ("volume", {"name": NAME, "source_volid": "another"}),
    ("volume", {"name": NAME, "source_volid": "another", "snapshot_id": "gone"}),
    ("target", {"name": "data", "source_volid": "another"}),
    ("target", {"name": "data", "snapshot_id": "gone"}),
    ("claim", {"name": "data", "source_volid": "another"}),
    ("claim", {"name": "data", "snapshot_id": "gone"}),
]


@pytest.mark.parametrize(("kind", "shown"), FORGED_VOLUMES, ids=str)
def test_a_forged_or_copied_mark_makes_no_volume_volflow_s(
    cloud: FakeClient, source: str, kind: str, shown: dict[str, Any]
) -> None:
    assert not fits(cloud, cloud.put(tag(RUN, source, kind), **shown))


@pytest.mark.parametrize("kind", ["volume", "target"])
def test_a_volume_from_somebody_s_snapshot_is_not_volflow_s(
    cloud: FakeClient, source: str, kind: str
) -> None:
    for snapshot in (
        cloud.put(volume_id=source, name=NAME),
        cloud.put(tag(OTHER_RUN, source, "snapshot"), volume_id=source, name="volflow-87654321"),
        cloud.put(tag(RUN, source, "snapshot"), volume_id=cloud.put(), name="a copy"),
    ):
        made = cloud.put(tag(RUN, source, kind), name=NAME, snapshot_id=snapshot)
        assert not fits(cloud, made), snapshot


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("snapshot", "mine"),
        ("snapshot", SAFETY_NAME),
        ("safety snapshot", NAME),
        ("volume", NAME),
        ("target", NAME),
    ],
)
def test_a_forged_mark_makes_no_snapshot_volflow_s(
    cloud: FakeClient, source: str, kind: str, name: str
) -> None:
    assert not fits(cloud, cloud.put(tag(RUN, source, kind), volume_id=source, name=name))


def test_a_snapshot_of_another_volume_is_not_volflow_s(cloud: FakeClient, source: str) -> None:
    other = cloud.put(tag(RUN, source, "snapshot"), volume_id=cloud.put(), name=NAME)
    assert not fits(cloud, other)


def test_a_copy_of_a_claimed_volume_is_told_by_its_safety_snapshot(
    cloud: FakeClient, source: str
) -> None:
    copied = cloud.put(tag(RUN, source, "claim"), source_volid=source)
    assert not fits(cloud, copied)
    cloud.put(tag(RUN, source, "safety snapshot"), volume_id=copied, name=SAFETY_NAME)
    assert fits(cloud, copied)


def test_a_sign_of_life_older_than_its_volume_was_copied(cloud: FakeClient, source: str) -> None:
    metadata = {"volflow": tag(RUN, source, "target"), "volflow_alive": "2025-12-31T00:00:00"}
    copied = cloud.put(metadata=metadata)
    assert not fits(cloud, copied)
    cloud.volumes[copied]["metadata"]["volflow_alive"] = "2026-01-01T00:00:00"
    assert fits(cloud, copied)


def test_a_new_volume_that_no_ledger_names_is_known_by_its_own_id(
    cloud: FakeClient, source: str
) -> None:
    cinder, mark = cloud.cinder(), Mark(RUN, source, "target")

    def marked(own_id: str | None) -> dict[str, Any]:
        made = cloud.put(str(mark))
        if own_id is not None:
            cloud.volumes.set_metadata(made, {"volflow_id": own_id or made})
        return cinder.volumes.get(made)

    mine, plain, copied = marked(""), marked(None), marked(source)
    assert ownership.why_not_removable(cinder, mine, mark) is None
    # An earlier release may have made it, or a killed process: it may be half-written.
    assert ownership.why_not_ours(cinder, plain, mark) is None
    assert "does not carry its own id" in str(ownership.why_not_removable(cinder, plain, mark))
    # A tool has made a volume with the metadata of another one.
    assert source in str(ownership.why_not_ours(cinder, copied, mark))


def test_a_group_snapshot_has_the_name_that_volflow_gives() -> None:
    mark = Mark(RUN, OTHER_RUN, "group snapshot")
    cinder = FakeClient().cinder()
    assert ownership.why_not_ours(cinder, {"name": NAME}, mark) is None
    assert ownership.why_not_ours(cinder, {"name": "nightly"}, mark)


def test_a_group_snapshot_of_a_run_is_known_as_it_is_listed(cloud: FakeClient) -> None:
    group = cloud.groups.create("type", name="group").id
    mark = Mark(RUN, group, "group snapshot")
    cinder = cloud.cinder()
    for name in (NAME, "nightly"):
        cloud.group_snapshots.create(group, name=name, description=str(mark))
    why = {
        one["name"]: ownership.why_not_removable(cinder, one, mark)
        for one in cinder.group_snapshots.marked()
    }
    assert why == {NAME: None, "nightly": f"its name is not '{NAME}'"}
    volume = cinder.volumes.get(cloud.put(str(mark), name=NAME))
    assert ownership.why_not_ours(cinder, volume, mark)


def entry(resource_id: str | None, **details: Any) -> Entry:
    now = datetime.now(UTC)
    state = EntryState.PRESENT
    return Entry("", RUN, "", "volume", resource_id, state, None, details, now, now)


def removed(cloud: FakeClient, known: Entry, *found: str) -> list[str]:
    cinder = cloud.cinder()
    volumes = [cinder.volumes.get(one) for one in found]
    return [one["id"] for one in ownership.to_remove(cinder, volumes, known)]


def test_the_id_in_the_ledger_decides_and_what_came_later_stays(
    cloud: FakeClient, source: str
) -> None:
    mark, snapshot = tag(RUN, source, "volume"), snapshot_of(cloud, source)

    def made(at: str) -> str:
        return cloud.put(mark, name=NAME, snapshot_id=snapshot, created_at=at)

    # Cinder made the first for a request whose answer was lost; the last is an imitation.
    double, mine, later = made("2026-01-01T00:00:01"), made("2026-01-01T00:00:02"), made("2027")
    assert removed(cloud, entry(mine), double, mine, later) == [mine, double]
    gone = entry("gone", made_at="2026-01-01T00:00:02")
    assert removed(cloud, gone, double, later) == [double]
    assert removed(cloud, entry("gone"), double, later) == []


def test_without_an_id_in_the_ledger_only_what_fits_is_removed(
    cloud: FakeClient, source: str
) -> None:
    mark, snapshot = tag(RUN, source, "volume"), snapshot_of(cloud, source)
    mine = cloud.put(mark, name=NAME, snapshot_id=snapshot)
    copied = cloud.put(mark, name=NAME, source_volid=mine)
    assert removed(cloud, entry(None), mine, copied) == [mine]
