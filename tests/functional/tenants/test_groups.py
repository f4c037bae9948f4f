"""Groups: their volumes are snapshotted together, and form a group again when restored."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import faults
from tests.support.faults import Place
from tests.support.people import GROUP_TYPE, Person, Town
from tests.support.waiting import is_gone, until_available, until_gone

pytestmark = pytest.mark.lab


@dataclass
class Band:
    """A tenant with backups of a group of two volumes.

    :ivar group: the id of the group at the time of the backups
    :ivar volumes: the ids of the present volumes, by name
    :ivar old: the ids at the time of the backups
    """

    town: Town
    person: Person
    group: str = ""
    volumes: dict[str, str] = field(default_factory=dict)
    old: dict[str, str] = field(default_factory=dict)

    def make(self) -> None:
        self.group = self.person.group("pair", description="Two of a kind")
        for name in ("left", "right"):
            self.volumes[name] = self.person.volume(
                lambda root, name=name: (root / "who").write_text(name),
                name=name,
                volume_type="lab",
                group_id=self.group,
            )
        self.old = dict(self.volumes)

    def remove(self, *names: str) -> None:
        """Delete volumes, which must leave their group first."""
        for name in names:
            volume = self.volumes.pop(name)
            group = self.person.cloud.client.volumes.get(volume).group_id
            if group:
                self.person.change_group(group, remove_volumes=volume)
            self.person.cloud.delete(volume)

    def dissolve(self, group: str) -> None:
        """Delete a group, but not its volumes."""
        client = self.person.cloud.client
        members = [v.id for v in client.volumes.list() if v.group_id == group]
        if members:
            self.person.change_group(group, remove_volumes=",".join(members))
        client.groups.delete(group)
        until_gone(client.groups.get, group)

    def groups(self) -> dict[str, Any]:
        return {group.id: group for group in self.person.cloud.client.groups.list()}

    def members(self, group: str) -> set[str]:
        return {v.name for v in self.person.cloud.client.volumes.list() if v.group_id == group}

    def restore(self, *arguments: str, status: int = 0) -> dict[str, dict[str, Any]]:
        """Restore; return the result of each volume, by name."""
        rows = self.person.rows("restore", "create", *arguments, "--yes", status=status)
        self.volumes |= {row["name"]: row["target_id"] for row in rows if row["target_id"]}
        return {row["name"]: row for row in rows}

    def read(self, name: str) -> str:
        volume = self.volumes[name]
        return self.person.cloud.on(volume, lambda root: (root / "who").read_text())


@pytest.fixture(scope="module")
def band(town: Town) -> Band:
    person = town.person("alpha")
    town.make_repository(person.project_id)
    town.give_key(person, person.project_id)
    found = Band(town, person)
    found.make()
    return found


@contextmanager
def snapshots(town: Town) -> Iterator[dict[str, str | None]]:
    """The snapshots that exist while the block runs, and the group snapshot of each."""
    seen: dict[str, str | None] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for snapshot in town.api.all("snapshots"):
                seen[snapshot["id"]] = snapshot["group_snapshot_id"]

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def test_a_group_is_backed_up_from_one_group_snapshot(band: Band) -> None:
    with snapshots(band.town) as seen:
        done = band.person.cli("backup", "create", "--group", band.group)
    assert done.returncode == 0, done
    assert len(seen) == 2
    assert len(set(seen.values())) == 1
    assert None not in seen.values()
    # Cinder shows the properties of the type only to administrators.
    assert f"group {band.group}: whether its volumes were snapshotted at one moment" in done.stderr
    assert "is not known" in done.stderr


def test_a_member_that_is_gone_takes_its_place_again(band: Band) -> None:
    band.remove("left")
    row = band.restore("left")["left"]
    assert "group_id" not in {each["name"] for each in row["differences"]}
    assert band.members(band.group) == {"left", "right"}
    assert set(band.groups()) == {band.group}
    assert band.read("left") == "left"


def test_a_volume_beside_its_old_one_joins_no_group(band: Band) -> None:
    row = band.restore("right", "--new")["right"]
    told = {each["name"]: each["why"] for each in row["differences"]}
    assert told["group_id"] == "the old volume is still in it"
    assert band.person.cloud.client.volumes.get(row["target_id"]).group_id is None
    band.person.cloud.delete(row["target_id"])
    band.volumes["right"] = band.old["right"]


def test_the_group_is_made_anew(band: Band) -> None:
    before = band.groups()[band.group]
    band.remove("left", "right")
    band.dissolve(band.group)
    rows = band.restore("--group", band.group)
    assert {row["outcome"] for row in rows.values()} == {"complete"}
    ((made, group),) = band.groups().items()
    assert made != band.group
    for name in ("name", "description", "group_type", "volume_types", "availability_zone"):
        assert getattr(group, name) == getattr(before, name)
    assert group.status == "available"
    assert band.members(made) == {"left", "right"}
    assert {name: band.read(name) for name in band.volumes} == {"left": "left", "right": "right"}
    for row in rows.values():
        assert "group_id" not in {each["name"] for each in row["differences"]}
    assert band.person.rows("leftover", "list") == []


def test_new_volumes_form_a_second_group(band: Band) -> None:
    """With ``--group`` and ``--new``, copies of a group's volumes form a group too."""
    person = band.person
    (first,) = band.groups()
    assert person.cli("backup", "create", "--group", first).returncode == 0
    rows = person.rows("restore", "create", "--group", first, "--new", "--yes")
    (second,) = set(band.groups()) - {first}
    assert band.members(first) == band.members(second) == {"left", "right"}
    for row in rows:
        volume = person.cloud.client.volumes.get(row["target_id"])
        assert volume.group_id == second
    band.dissolve(second)
    for row in rows:
        person.cloud.delete(row["target_id"])


def test_volumes_that_have_left_are_put_back(band: Band) -> None:
    (group,) = band.groups()
    client = band.person.cloud.client
    band.person.change_group(group, remove_volumes=band.volumes["left"])
    # An existing volume keeps its properties, including its membership.
    row = band.restore(band.volumes["left"])["left"]
    assert "group_id" in {each["name"] for each in row["differences"]}
    assert client.volumes.get(band.volumes["left"]).group_id is None
    band.restore("--group", group)
    assert band.members(group) == {"left", "right"}
    # The group is deleted too.
    band.dissolve(group)
    band.restore("--group", group)
    (anew,) = band.groups()
    assert band.members(anew) == {"left", "right"}


@pytest.fixture
def lost(band: Band) -> Iterator[str]:
    """A deleted group with its two volumes; groups made from it are removed at the end."""
    for group in list(band.groups()):
        band.dissolve(group)
    band.remove(*list(band.volumes))
    band.make()
    assert band.person.cli("backup", "create", "--group", band.group).returncode == 0
    band.remove("left", "right")
    band.dissolve(band.group)
    yield band.group
    for group in list(band.groups()):
        band.dissolve(group)
    for name, volume in list(band.volumes.items()):
        band.person.cloud.delete(volume)
        del band.volumes[name]


def test_a_missing_group_type_is_reported_and_data_restored(band: Band, lost: str) -> None:
    """The data is restored, and the result names the group that could not be made."""
    admin = band.town.lab.cinder("lab-admin")
    (kind,) = (each for each in admin.group_types.list() if each.name == GROUP_TYPE)
    admin.group_types.update(kind, name="another")
    try:
        rows = band.restore("--group", lost)
    finally:
        admin.group_types.update(kind, name=GROUP_TYPE)
    for name, row in rows.items():
        assert row["outcome"] == "complete"
        told = {each["name"]: each["why"] for each in row["differences"]}
        assert f"This cloud has no group type '{GROUP_TYPE}'" in told["group_id"]
        assert band.read(name) == name
    assert band.groups() == {}


def _fail(band: Band, lost: str, places: Mapping[str, Place]) -> Any:
    """Restore the group, with faults."""
    from volflow.plans.selection import Selection

    with (
        band.person.volflow() as volflow,
        faults.injected({band.old[name]: place for name, place in places.items()}, faults.raised),
    ):
        plan = volflow.restores.plan(Selection(groups=(lost,)))
        result = volflow.restores.run(plan)
    for volume in result.volumes:
        if volume.target_id:
            band.volumes[volume.name] = volume.target_id
    return result


def test_one_fails_and_the_other_is_in_the_group(band: Band, lost: str) -> None:
    result = _fail(band, lost, {"left": Place("copy", "after")})
    outcomes = {volume.name: str(volume.outcome) for volume in result.volumes}
    assert outcomes == {"left": "failed", "right": "complete"}
    (group,) = band.groups()
    assert band.members(group) == {"right"}
    assert all(not volume.leftovers for volume in result.volumes)
    # The next attempt makes a new group: nothing shows that the other one is that group.
    assert band.groups()[group].description == "Two of a kind"


def test_all_fail_and_there_is_no_group(band: Band, lost: str) -> None:
    place = Place("make file system", "before")
    result = _fail(band, lost, {"left": place, "right": place})
    assert {str(volume.outcome) for volume in result.volumes} == {"failed"}
    assert band.groups() == {}
    assert band.town.everything() == set()


# Requests that make no sense


def test_an_unknown_group_is_refused(band: Band) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    for verb in ("backup", "restore"):
        said = band.person.refused(verb, "create", "--group", nowhere)
        assert nowhere in said


def test_an_empty_group_is_refused(band: Band) -> None:
    group = band.person.group("nobody")
    try:
        said = band.person.refused("backup", "create", "--group", group)
        assert f"Group nobody ({group}) has no volumes" in said
    finally:
        band.dissolve(group)


def test_a_group_of_another_tenant_is_unknown(band: Band, town: Town) -> None:
    beta = town.person("beta")
    town.make_repository(beta.project_id)
    town.give_key(beta, beta.project_id)
    group = band.person.group("mine")
    try:
        said = beta.refused("backup", "create", "--group", group)
        assert f"No group has the id or name '{group}' in this project" in said
    finally:
        band.dissolve(group)


def test_a_group_that_is_named_twice_is_refused(band: Band) -> None:
    group = "00000000-0000-4000-8000-000000000000"
    said = band.person.refused("backup", "create", "--group", f"{group},{group}", status=2)
    assert "named more than once" in said


@pytest.fixture
def trio(band: Band) -> Iterator[tuple[str, list[str]]]:
    """A group of three volumes with unimportant content."""
    group = band.person.group("trio")
    volumes = [
        band.person.volume(name=f"v{number}", volume_type="lab", group_id=group)
        for number in range(3)
    ]
    yield group, volumes
    admin = band.town.lab.cinder("lab-admin")
    for volume in volumes:
        if not is_gone(admin.volumes.get, volume):
            admin.volumes.reset_state(volume, "available")
    band.dissolve(group)
    for volume in volumes:
        band.person.cloud.delete(volume)


def test_a_member_in_maintenance_refuses_its_group(band: Band, trio: tuple[str, list[str]]) -> None:
    """A group snapshot covers all volumes of the group, or none."""
    group, volumes = trio
    before = band.town.everything()
    admin = band.town.lab.cinder("lab-admin")
    admin.volumes.reset_state(volumes[1], "maintenance")
    said = band.person.refused("backup", "create", "--group", group)
    assert volumes[1] in said
    assert "'maintenance'" in said
    assert band.town.everything() == before
    # With --all it is left out, and the other volumes are backed up one by one.
    done = band.person.rows("backup", "create", "--all", status=3)
    outcomes = {row["volume_id"]: row["outcome"] for row in done}
    assert outcomes[volumes[1]] == "left out"
    assert {outcomes[volumes[0]], outcomes[volumes[2]]} == {"complete"}


def test_a_group_with_an_attached_member_is_backed_up(
    band: Band, trio: tuple[str, list[str]]
) -> None:
    group, volumes = trio
    with band.person.cloud.attached(volumes[0]):
        rows = band.person.rows("backup", "create", "--group", group)
    assert {row["outcome"] for row in rows} == {"complete"}


def test_members_of_several_moments_are_reported(band: Band, trio: tuple[str, list[str]]) -> None:
    """Each volume's last backup is used, with a warning that they are from different times."""
    group, volumes = trio
    (first,) = {row["run_id"] for row in band.person.rows("backup", "create", "--group", group)}
    (second,) = band.person.rows("backup", "create", volumes[0])
    band.person.change_group(group, remove_volumes=volumes[2])
    done = band.person.cli("restore", "create", "--group", group, "--dry-run")
    assert done.returncode == 0, done
    assert f"group {group}: the backups of its volumes are from different times" in done.stderr
    assert f"v0 from run {second['run_id'][:8]}" in done.stderr
    assert f"v1 from run {first[:8]}" in done.stderr
    # A volume that has left the group, according to its last backup.
    assert band.person.cli("backup", "create", volumes[2]).returncode == 0
    done = band.person.cli("restore", "create", "--group", group, "--dry-run")
    assert f"v2: left out, has left group {group} since its backup" in done.stderr


def test_group_snapshots_of_lost_runs_are_removed(band: Band, trio: tuple[str, list[str]]) -> None:
    """They have no metadata: volflow finds them by description, and knows them by their name."""
    client, run, group = band.person.cloud.client, "00000000-0000-4000-8000-000000000001", trio[0]
    tag = f"{run}/{group}/group snapshot"
    names = (f"volflow-{run[:8]}", "nightly")
    snapshot, forged = (client.group_snapshots.create(group, n, tag) for n in names)
    for each in (snapshot, forged):
        until_available(client.group_snapshots.get, each.id)
    # Anybody can write the description of a group, and nothing else says who has made it.
    made = band.person.group("left over", description=f"{run}/{group}@project/group")
    others = band.person.group("not left over", description=f"{run}/{group}@project/group of mine")
    try:
        found = band.person.rows("leftover", "list", "--lost")
        assert {row["ID"] for row in found} == {snapshot.id, forged.id, made}
        band.person.rows("leftover", "clean", "--lost", "--older-than", "0")
        assert is_gone(client.group_snapshots.get, snapshot.id)
        assert not is_gone(client.group_snapshots.get, forged.id)
        assert not any(is_gone(client.groups.get, each) for each in (made, others))
    finally:
        client.group_snapshots.delete(forged.id)
        until_gone(client.group_snapshots.get, forged.id)
        band.dissolve(made)
        band.dissolve(others)


def test_a_member_that_vanishes_after_the_plan_is_left_out(
    band: Band, trio: tuple[str, list[str]]
) -> None:
    from volflow.plans.selection import Selection

    group, volumes = trio
    with band.person.volflow() as volflow:
        plan = volflow.backups.plan(Selection(groups=(group,)))
        band.person.change_group(group, remove_volumes=volumes[2])
        band.person.cloud.delete(volumes[2])
        result = volflow.backups.run(plan)
    why = {one.volume_id: one.reason for one in result.left_out}
    assert why == {volumes[2]: "was deleted before its backup began"}
    outcomes = {volume.volume_id: str(volume.outcome) for volume in result.volumes}
    assert outcomes == dict.fromkeys(volumes[:2], "complete")
