"""Which volumes are backed up, and who owns temporary resources and restored volumes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Person, Town

pytestmark = pytest.mark.lab

OWNER = "os-vol-tenant-attr:tenant_id"


@dataclass
class Tenants:
    """Two tenants, each with its key, and an operator with the keys of both.

    :ivar volumes: the ids of each tenant's volumes, by login
    """

    town: Town
    alpha: Person
    beta: Person
    admin: Person
    volumes: dict[str, list[str]]

    @property
    def projects(self) -> tuple[str, str]:
        return self.alpha.project_id, self.beta.project_id


@pytest.fixture(scope="module")
def tenants(town: Town) -> Tenants:
    alpha, beta, admin = (town.person(name) for name in ("alpha", "beta", "admin"))
    for person in (alpha, beta):
        town.make_repository(person.project_id)
        for one in (person, admin):
            town.give_key(one, person.project_id)
    volumes = {
        person.login: [
            person.volume(
                lambda root, whose=person.login: (root / "whose").write_text(whose),
                name=name,
                metadata={"of": person.login},
            )
            for name in ("one", "two")
        ]
        for person in (alpha, beta)
    }
    return Tenants(town, alpha, beta, admin, volumes)


@contextmanager
def watched(town: Town) -> Iterator[set[str]]:
    """The projects of the temporary volumes and snapshots that exist while the block runs."""
    seen: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for volume in town.api.all("volumes"):
                if volume["metadata"].get("volflow"):
                    seen.add(f"volume in {volume[OWNER]}")
            for snapshot in town.api.all("snapshots"):
                project = snapshot["os-extended-snapshot-attributes:project_id"]
                seen.add(f"snapshot in {project}")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _backed_up(rows: list[dict[str, Any]]) -> set[str]:
    return {row["volume_id"] for row in rows if row["outcome"] == "complete"}


def test_a_member_backs_up_its_own(tenants: Tenants) -> None:
    rows = tenants.alpha.rows("backup", "create", "--all")
    assert _backed_up(rows) == set(tenants.volumes["lab-alpha"])
    assert {row["outcome"] for row in rows} == {"complete"}


@pytest.mark.parametrize("act_in", ["caller", "tenant"])
def test_a_member_may_not_back_up_all(tenants: Tenants, act_in: str) -> None:
    before = tenants.town.everything()
    said = tenants.alpha.refused("backup", "create", "--all-tenants", cloud__act_in=act_in)
    assert "all projects" in said
    assert "administrators" in said
    assert tenants.town.everything() == before
    assert tenants.alpha.project_id in said
    assert tenants.beta.project_id not in said


def test_a_member_may_not_restore_all(tenants: Tenants) -> None:
    """volflow refuses, instead of restoring only the member's own project."""
    said = tenants.alpha.refused("restore", "create", "--all-tenants", "--new", "--yes")
    assert "all projects" in said
    assert "administrators" in said
    assert tenants.beta.project_id not in said


def test_an_administrator_backs_up_all(tenants: Tenants) -> None:
    with watched(tenants.town) as seen:
        rows = tenants.admin.rows("backup", "create", "--all-tenants")
    assert _backed_up(rows) == {v for mine in tenants.volumes.values() for v in mine}
    # The temporary resources belong to the project of the user who makes them.
    admin = tenants.admin.project_id
    assert seen == {f"volume in {admin}", f"snapshot in {admin}"}


def test_temporary_resources_can_be_made_in_tenant_projects(tenants: Tenants) -> None:
    keystone = tenants.town.keystone
    with (
        keystone.role("admin", "alpha"),
        keystone.role("admin", "beta"),
        watched(tenants.town) as seen,
    ):
        rows = tenants.admin.rows("backup", "create", "--all-tenants", cloud__act_in="tenant")
    assert _backed_up(rows) == {v for mine in tenants.volumes.values() for v in mine}
    assert seen == {f"{kind} in {p}" for kind in ("volume", "snapshot") for p in tenants.projects}


def test_a_project_without_a_role_is_left_out(tenants: Tenants) -> None:
    with tenants.town.keystone.role("admin", "alpha"):
        rows = tenants.admin.rows(
            "backup", "create", "--all-tenants", status=3, cloud__act_in="tenant"
        )
    assert _backed_up(rows) == set(tenants.volumes["lab-alpha"])
    left_out = {row["volume_id"]: row["error"] for row in rows if row["outcome"] == "left out"}
    assert set(left_out) == set(tenants.volumes["lab-beta"])
    for why in left_out.values():
        assert "needs a role" in why
        assert tenants.beta.project_id in why


def test_no_role_in_any_project_is_refused(tenants: Tenants) -> None:
    before = tenants.town.everything()
    said = tenants.admin.refused("backup", "create", "--all-tenants", cloud__act_in="tenant")
    assert said.count("needs a role") == 2
    assert tenants.town.everything() == before


def test_a_project_without_a_key_is_left_out(tenants: Tenants) -> None:
    """A project is left out if its repository cannot be opened; the other one is backed up."""
    other = tenants.town.person("admin", "admin without a key")
    tenants.town.give_key(other, tenants.alpha.project_id)
    rows = other.rows("backup", "create", "--all-tenants", status=3)
    assert _backed_up(rows) == set(tenants.volumes["lab-alpha"])
    left_out = {row["volume_id"] for row in rows if row["outcome"] == "left out"}
    assert left_out == set(tenants.volumes["lab-beta"])


def test_volumes_come_back_to_their_own_tenants(tenants: Tenants, tmp_path: Path) -> None:
    """A restored volume belongs to its tenant again, whoever restores it."""
    for person in (tenants.alpha, tenants.beta):
        for volume in tenants.volumes[person.login]:
            person.cloud.delete(volume)
    keystone = tenants.town.keystone
    with keystone.role("admin", "alpha"), keystone.role("admin", "beta"):
        rows = tenants.admin.rows("restore", "create", "--all-tenants", "--yes")
    assert {row["outcome"] for row in rows} == {"complete"}
    found = tenants.town.volumes()
    for person in (tenants.alpha, tenants.beta):
        mine = [row for row in rows if row["volume_id"] in tenants.volumes[person.login]]
        assert len(mine) == 2
        for row in mine:
            volume = found[row["target_id"]]
            assert volume[OWNER] == person.project_id
            assert volume["metadata"] == {"of": person.login}
            assert volume["name"] == row["name"]
            read = person.cloud.on(volume["id"], lambda root: (root / "whose").read_text())
            assert read == person.login
        tenants.volumes[person.login] = [row["target_id"] for row in mine]


def test_a_restore_without_a_role_leaves_the_project_out(tenants: Tenants) -> None:
    """Without a role in a project a user cannot restore into it; the volumes of other projects are
    restored. This also holds for a new state, without earlier runs.
    """
    anew = tenants.town.home / "a new state"
    with tenants.town.keystone.role("admin", "beta"):
        rows = tenants.admin.rows(
            *("restore", "create", "--all-tenants", "--new", "--yes"),
            status=3,
            DEFAULT__state_dir=anew,
        )
    complete = [row for row in rows if row["outcome"] == "complete"]
    left_out = {row["name"]: row["error"] for row in rows if row["outcome"] == "left out"}
    found = tenants.town.volumes()
    assert {found[row["target_id"]][OWNER] for row in complete} == {tenants.beta.project_id}
    assert len(complete) == len(left_out) == 2
    for why in left_out.values():
        assert "needs a role" in why
        assert tenants.alpha.project_id in why


def test_a_restore_without_a_key_leaves_the_project_out(tenants: Tenants) -> None:
    """A repository that cannot be opened is reported, even if the state does not know it; a
    project without a repository is not.
    """
    other = tenants.town.person("admin", "admin with one key")
    tenants.town.give_key(other, tenants.beta.project_id)
    arguments = ("restore", "create", "--all-tenants", "--new", "--yes")
    before = tenants.town.everything()
    with tenants.town.keystone.role("admin", "beta"):
        done = other.cli(*arguments, "--dry-run")
    assert done.returncode == 3, done
    assert done.stderr.count("left out") == 1
    assert f"project {tenants.alpha.project_id}: left out, The password file" in done.stderr
    # Without any key nothing is restored.
    nobody = tenants.town.person("admin", "admin without keys")
    said = nobody.refused(*arguments)
    assert all(project in said for project in tenants.projects)
    assert tenants.town.everything() == before
