"""All volumes of two tenants are backed up, ten in parallel, and restored to an empty cloud."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support import tree
from tests.support.people import GROUP_TYPE, Keystone, Person, Town, admin_api, group_types
from tests.support.site import environment_of

pytestmark = pytest.mark.lab

TENANTS = ("alpha", "beta")
EACH = 12
AT_A_TIME = 10
# The number of volumes of each tenant in a group.
IN_GROUP = 3
TYPES = ("lab", "lab-multiattach")


@dataclass
class World:
    """One cloud, with its volumes and groups by tenant and name."""

    town: Town
    admin: Person
    people: dict[str, Person]
    content: dict[tuple[str, str], tree.Tree] = field(default_factory=dict)

    @classmethod
    def of(cls, town: Town, home: str) -> World:
        people = {name: town.person(name, f"{home} {name}") for name in TENANTS}
        return cls(town, town.person("admin", f"{home} admin"), people)

    def volumes(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every volume, with the properties that must be as before."""
        whose = {person.project_id: name for name, person in self.people.items()}
        groups = {group["id"]: group["name"] for group in self._groups()}
        return {
            (whose[shown["os-vol-tenant-attr:tenant_id"]], shown["name"]): {
                **{name: shown[name] for name in ("description", "size", "volume_type")},
                **{name: shown[name] for name in ("availability_zone", "bootable", "metadata")},
                **{name: shown[name] for name in ("multiattach", "status", "encrypted")},
                "image": shown.get("volume_image_metadata", {}),
                "group": groups.get(shown["group_id"]),
            }
            for shown in self.town.volumes().values()
        }

    def groups(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Every group, with the properties that must be as before."""
        client = self.town.lab.cinder("lab-admin")
        whose = {person.project_id: name for name, person in self.people.items()}
        types = {each.id: each.name for each in client.volume_types.list()}
        kinds = {each.id: each.name for each in client.group_types.list()}
        return {
            (whose[group["project_id"]], group["name"]): {
                "description": group["description"],
                "type": kinds[group["group_type"]],
                "volume types": {types[each] for each in group["volume_types"]},
                "availability zone": group["availability_zone"],
                "status": group["status"],
            }
            for group in self._groups()
        }

    def _groups(self) -> list[dict[str, Any]]:
        client = self.town.lab.cinder("lab-admin")
        found = client.groups.list(search_opts={"all_tenants": 1})
        # A list of groups does not show the project, but a single group does.
        return [client.groups.get(group.id).to_dict() for group in found]

    def read(self) -> None:
        """Describe every file of every volume."""
        client = self.town.lab.cinder("lab-admin")
        for shown in client.volumes.list(search_opts={"all_tenants": 1}):
            owner = getattr(shown, "os-vol-tenant-attr:tenant_id")
            name = next(n for n, person in self.people.items() if person.project_id == owner)
            cloud = self.people[name].cloud
            self.content[name, shown.name] = cloud.on(shown.id, tree.describe, read_only=True)

    def query(self, text: str, *values: Any) -> list[tuple[Any, ...]]:
        """Query Cinder's own database, which keeps deleted resources."""
        file = self.town.lab.directory.database("cinder")
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as database:
            return list(database.execute(text, values))

    def in_flight(self, since: str) -> int:
        """The highest number of volumes that were attached at the same time since a moment."""
        rows = self.query(
            "SELECT created_at, deleted_at FROM volume_attachment WHERE created_at > ?", since
        )
        assert all(ended for _, ended in rows)
        moments = [(began, 1) for began, _ in rows] + [(ended, -1) for _, ended in rows]
        most = now = 0
        # An attachment that ends when another begins does not overlap with it.
        for _, change in sorted(moments):
            now += change
            most = max(most, now)
        return most

    def now(self) -> str:
        return str(self.query("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")[0][0])


def _fill(number: int, root: Path) -> None:
    """Every fourth volume holds everything that a file system can hold, the others a little."""
    if number % 4 == 0:
        tree.make(root)
        return
    (root / "number").write_text(f"{number}\n")
    (root / "directory").mkdir()
    (root / "directory" / "data").write_bytes(os.urandom(100_000 + number))
    os.chown(root / "number", 1000 + number, 2000)


def _settle(person: Person, tenant: str) -> None:
    """Make the volumes and the group of a tenant."""
    group = person.group(f"group of {tenant}", TYPES[0], description=f"Three of {tenant}")
    for number in range(EACH):
        together = number < IN_GROUP
        place = {"volume_type": TYPES[0], "group_id": group}
        if not together:
            place = {
                "volume_type": TYPES[number % 2],
                "availability_zone": "second" if number % 5 == 0 else "nova",
            }
        volume = person.cloud.create(
            name=f"v{number}",
            description=f"Number {number} of {tenant}",
            metadata={"tenant": tenant, "number": str(number)},
            **place,
        )
        kind = "xfs" if number % 3 == 0 else "ext4"
        person.cloud.fill(volume, kind, lambda root, number=number: _fill(number, root))
        client = person.cloud.client
        if number % 3 == 1:
            client.volumes.set_bootable(volume, True)
            client.volumes.set_image_metadata(volume, {"os_distro": "debian"})
        if number % 6 == 5:
            client.volumes.update_readonly_flag(volume, True)


@contextmanager
def _another_lab(path: Path) -> Iterator[Any]:
    from lab import Lab

    found = Lab(path)
    found.up(keystone=True, page=7)
    try:
        with environment_of(found, without="OS_CLOUD"):
            group_types(found)
            yield found
    finally:
        found.down()


@pytest.fixture(scope="module")
def old(town: Town) -> World:
    """A cloud with two tenants, and an operator who has the keys of both."""
    world = World.of(town, "old")
    for name, person in world.people.items():
        town.make_repository(person.project_id)
        town.give_key(world.admin, person.project_id)
        _settle(person, name)
    world.read()
    return world


def test_volumes_move_from_one_cloud_into_another(old: World, scratch: Path) -> None:
    volumes, groups = old.volumes(), old.groups()
    assert len(volumes) == 2 * EACH
    assert sum(volume["group"] is not None for volume in volumes.values()) == 2 * IN_GROUP
    members = {
        shown["id"]: shown["group_id"] for shown in old.town.volumes().values() if shown["group_id"]
    }

    # Backup
    started = old.now()
    rows = old.admin.rows(
        "backup", "create", "--all-tenants", "--parallel", str(AT_A_TIME), timeout=1500
    )
    assert [row["outcome"] for row in rows] == ["complete"] * 2 * EACH
    most = old.in_flight(started)
    print(f"backup: {len(rows)} volumes, at most {most} attached at a time, as Cinder shows")
    assert AT_A_TIME // 2 < most <= AT_A_TIME
    taken: dict[str, set[str]] = {}
    for volume, snapshot in old.query("SELECT volume_id, group_snapshot_id FROM snapshots"):
        if volume in members:
            taken.setdefault(members[volume], set()).add(snapshot)
    print(f"group snapshots, by group: {taken}")
    assert [len(each) for each in taken.values()] == [1, 1]
    assert None not in set().union(*taken.values())
    snapshots = "SELECT id FROM group_snapshots WHERE created_at > ?"
    assert {(each,) for each in set().union(*taken.values())} == set(old.query(snapshots, started))

    # Restore to an empty cloud, with only the repositories and their keys
    with _another_lab(scratch / "lab-anew") as lab:
        home = Path(tempfile.mkdtemp(prefix="anew-", dir=scratch))
        town = Town(home, lab, Keystone(lab.clouds_file), admin_api(lab))
        new = World.of(town, "new")
        assert town.everything() == set()
        told = []
        for name in TENANTS:
            before = old.people[name].project_id
            old.town.give_key(new.admin, before)
            told += ["--project-map", f"{before}={new.people[name].project_id}"]
        location = f"{old.town.home}/repositories/{{project_id}}"
        started = new.now()
        with town.keystone.role("admin", "alpha"), town.keystone.role("admin", "beta"):
            rows = new.admin.rows(
                *("restore", "create", "--all-tenants", "--yes", *told),
                *("--parallel", str(AT_A_TIME)),
                timeout=1500,
                repository__location=location,
            )
        assert [row["outcome"] for row in rows] == ["complete"] * 2 * EACH
        most = new.in_flight(started)
        print(f"restore: {len(rows)} volumes, at most {most} attached at a time, as Cinder shows")
        assert AT_A_TIME // 2 < most <= AT_A_TIME
        assert new.volumes() == volumes
        assert new.groups() == groups
        new.read()
        for key, content in old.content.items():
            tree.assert_same(content, new.content[key])
        files = sum(len(content) for content in new.content.values())
        print(f"compared: {len(new.content)} volumes, {files} files, {len(groups)} groups")
        assert {kind for g in groups.values() for kind in [g["type"]]} == {GROUP_TYPE}
        assert new.admin.rows("leftover", "list") == []
