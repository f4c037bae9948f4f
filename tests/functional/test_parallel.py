"""A limited number of volumes run in parallel, and a failure does not affect other volumes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import faults
from tests.support.faults import InjectedError, Place
from tests.support.site import Site
from tests.support.waiting import until_available
from volflow.plans.selection import Selection

pytestmark = pytest.mark.lab

VOLUMES = 20
AT_A_TIME = 10


class Books:
    """Cinder's own database, which keeps deleted resources."""

    def __init__(self, file: Path) -> None:
        self._uri = f"file:{quote(str(file))}?mode=ro"
        self.since = str(self._ask("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")[0][0])

    def _ask(self, text: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._uri, uri=True)) as database:
            return list(database.execute(text, values))

    def in_flight(self) -> int:
        """The highest number of temporary volumes at the same time since this object was made."""
        rows = self._ask(
            "SELECT v.created_at, v.deleted_at FROM volumes v WHERE v.created_at > ? AND EXISTS "
            "(SELECT 1 FROM volume_metadata m WHERE m.volume_id = v.id AND m.key = 'volflow')",
            self.since,
        )
        assert rows
        assert all(ended for _, ended in rows), "a temporary volume is left"
        moments = [(began, 1) for began, _ in rows] + [(ended, -1) for _, ended in rows]
        most = now = 0
        # A volume that ends when another begins does not overlap with it.
        for _, change in sorted(moments):
            now += change
            most = max(most, now)
        return most


@contextmanager
def books(lab: Any) -> Iterator[Books]:
    yield Books(lab.directory.database("cinder"))


def _alike(site: Site, count: int, **properties: Any) -> list[str]:
    first = site.cloud.create(name="v0", **properties)
    site.cloud.fill(first, "ext4", lambda root: (root / "file").write_text("content\n"))
    return [first, *site.cloud.clones(first, [f"v{number}" for number in range(1, count)])]


def test_a_failure_does_not_harm_other_volumes(site: Site, the_lab: Any) -> None:
    """Three volumes fail in different steps, and one cannot be undone: sixteen are backed up."""
    volumes = _alike(site, VOLUMES)
    stuck = volumes[15]
    places = {
        volumes[3]: Place("temporary volume", "before"),
        volumes[7]: Place("attachment", "after"),
        volumes[11]: Place("copy", "before"),
        stuck: Place("copy", "before"),
    }
    held: list[str] = []

    def act(volume: str, place: Place) -> None:
        if volume == stuck:
            # Cinder does not delete a snapshot in the state "creating".
            client = site.cloud.client
            (snapshot,) = client.volume_snapshots.list(search_opts={"volume_id": volume})
            client.volume_snapshots.reset_state(snapshot.id, "creating")
            held.append(snapshot.id)
        raise InjectedError(f"injected {place}")

    with (
        books(the_lab) as told,
        # volflow waits as long as this for the end of the state that does not end.
        site.volflow(wait__limit=60, wait__limit_per_gib=0) as volflow,
        faults.injected(places, act) as happened,
    ):
        result = volflow.backups.create(Selection(everything=True), parallel=AT_A_TIME)
        leftovers = volflow.leftovers.list()
    assert len(happened) == len(places)
    outcomes = {volume.volume_id: volume for volume in result.volumes}
    assert len(outcomes) == VOLUMES
    for volume, one in outcomes.items():
        assert str(one.outcome) == ("failed" if volume in places else "complete")
        assert bool(one.leftovers) == (volume == stuck)
    for volume, place in places.items():
        assert outcomes[volume].error == f"injected {place}"
    # Cinder shows that many volumes ran in parallel, but never more than the limit.
    most = told.in_flight()
    print(f"at most {most} of {VOLUMES} volumes at a time, as Cinder shows")
    assert AT_A_TIME // 2 < most <= AT_A_TIME
    assert [leftover.resource_id for leftover in leftovers] == held
    assert {snapshot["hostname"] for snapshot in site.snapshots()} == set(volumes) - places.keys()
    # Without the obstacle, the leftover can be removed.
    site.cloud.client.volume_snapshots.reset_state(held[0], "available")
    assert site.cli("leftover", "clean").returncode == 0
    assert [str(finding) for finding in site.findings()] == []


def _group(site: Site) -> str:
    client = site.cloud.client
    kinds = {kind.name: kind for kind in client.group_types.list()}
    kind = kinds.get("parallel") or client.group_types.create("parallel", "Of the tests")
    types = [t.id for t in client.volume_types.list() if t.name == "lab"]
    group = client.groups.create(kind.id, ",".join(types), "many")
    until_available(client.groups.get, group.id)
    return str(group.id)


def test_the_volumes_of_one_group_wait_for_each_other(site: Site, the_lab: Any) -> None:
    """The volumes run as one flow, but still only two in parallel."""
    client = site.cloud.client
    group = _group(site)
    volumes = _alike(site, 6, volume_type="lab")
    client.groups.update(group, add_volumes=",".join(volumes))
    until_available(client.groups.get, group)
    try:
        with books(the_lab) as told, site.volflow() as volflow:
            result = volflow.backups.create(Selection(groups=(group,)), parallel=2)
        assert str(result.outcome) == "complete"
        assert told.in_flight() == 2
    finally:
        client.groups.update(group, remove_volumes=",".join(volumes))
        until_available(client.groups.get, group)
        client.groups.delete(group)


def test_the_quota_limits_the_volumes_in_parallel(site: Site, the_lab: Any) -> None:
    from lab import settings

    volumes = _alike(site, 5)
    client = site.cloud.client
    before = client.quotas.get(settings.PROJECT)
    client.quotas.update(settings.PROJECT, volumes=len(volumes) + 2)
    try:
        with books(the_lab) as told:
            done = site.cli("backup", "create", "--all")
    finally:
        client.quotas.update(settings.PROJECT, volumes=before.volumes)
    assert done.returncode == 0, done
    assert "2 volumes in parallel instead of 10: the quota" in done.stderr
    assert told.in_flight() <= 2
