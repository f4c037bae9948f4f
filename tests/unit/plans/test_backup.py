"""A project that cannot be used does not stop the backup of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.cloud.cinder import Cinder
from volflow.cloud.connection import Cloud
from volflow.errors import CloudError, RepositoryError, VolflowError
from volflow.host.connector import Connector
from volflow.movers.base import StoredBackup
from volflow.plans.backup import BackupPlan, BackupPlanner
from volflow.plans.selection import Selection
from volflow.repositories.backups import Backups
from volflow.repositories.opened import Repositories

OWNER = "os-vol-tenant-attr:tenant_id"


@dataclass
class World:
    """A cloud with several projects, each with its own repository.

    :ivar volumes: the project of each volume
    :ivar closed: the projects in which the user has no role
    :ivar damaged: the projects with a repository that cannot be used
    :ivar read_only: the projects with a repository in which nothing can be stored; with None, the
        one that all projects share
    :ivar busy: the volumes that cannot be snapshotted now
    """

    volumes: dict[str, str]
    closed: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    read_only: tuple[str | None, ...] = ()
    per_project: bool = True
    looked: list[str] = field(default_factory=list)

    def plan(self, *stored: StoredBackup, **selection: Any) -> BackupPlan:
        planner = BackupPlanner(
            cast(Cloud, self),
            cast(Repositories, self),
            cast(Connector, None),
            cast(Backups, self),
            as_tenant=True,
        )
        return planner.plan(
            Selection(**selection or {"all_tenants": True}), list(stored) or None, 4
        )

    # The interface of Cloud, Repositories and Backups

    @property
    def cinder(self) -> Cinder:
        client = FakeClient()
        for volume, project in self.volumes.items():
            status = "error" if volume in self.busy else "available"
            client.put(id=volume, name=volume, status=status, **{OWNER: project})
        return client.cinder()

    def in_project(self, project_id: str) -> Cinder:
        if project_id in self.closed:
            raise CloudError(f"no role in {project_id}")
        return FakeClient().cinder(project_id)

    def of(self, project_id: str | None = None) -> Any:
        def check() -> None:
            if project_id in self.read_only:
                raise RepositoryError(f"read-only: {project_id}")

        return SimpleNamespace(local_path=None, check_writable=check)

    def look(self, projects: Any) -> tuple[list[StoredBackup], dict[str, VolflowError]]:
        self.looked += projects
        return [], {p: RepositoryError(f"damaged: {p}") for p in self.looked if p in self.damaged}


def left_out(plan: BackupPlan) -> dict[str, str]:
    return {one.volume_id: one.reason for one in plan.selected.left_out}


def test_a_project_that_cannot_be_used_does_not_stop_the_others() -> None:
    world = World({"a": "alpha", "b": "beta", "c": "gamma"}, closed=("beta",), damaged=("gamma",))
    plan = world.plan()
    assert [volume["id"] for volume in plan.selected.volumes] == ["a"]
    assert left_out(plan) == {"b": "no role in beta", "c": "damaged: gamma"}
    assert [use.project_id for use in plan.quota_use] == ["alpha"]
    # The repository of a project that cannot be used is not opened.
    assert world.looked == ["alpha", "gamma"]


def test_the_error_lists_every_project_if_none_can_be_used() -> None:
    world = World({"a": "alpha", "b": "beta"}, closed=("alpha", "beta"))
    with pytest.raises(CloudError, match="no role in alpha\nno role in beta"):
        world.plan()


def stored(volume: str, project: str) -> StoredBackup:
    tags = {"volume": volume, "project": project}
    return StoredBackup(f"backup of {volume}", datetime(2026, 1, 1, tzinfo=UTC), tags)


def test_a_volume_that_is_left_out_counts_if_it_has_a_backup() -> None:
    """So a restore of all also brings back its last backup."""
    world = World({"a": "p", "busy": "p", "new and busy": "p"}, busy=("busy", "new and busy"))
    plan = world.plan(stored("busy", "p"), stored("deleted", "p"), everything=True)
    assert plan.volumes_in_project == {"p": 2}


def test_a_filtered_backup_does_not_count_the_volumes_of_the_project() -> None:
    plan = World({"a": "p", "b": "p"}).plan(everything=True, name="a")
    assert plan.volumes_in_project == {}


def test_a_read_only_repository_of_a_project_leaves_out_its_volumes() -> None:
    plan = World({"a": "one", "b": "two"}, read_only=("two",)).plan()
    assert left_out(plan) == {"b": "read-only: two"}


@pytest.mark.parametrize("listed", [False, True])
def test_a_read_only_repository_of_all_projects_is_refused(listed: bool) -> None:
    world = World({"a": "one"}, read_only=(None,), per_project=False)
    with pytest.raises(RepositoryError, match="read-only"):
        world.plan(*[stored("a", "one")] if listed else ())


def test_a_plan_knows_which_volumes_are_due_for_a_full_read() -> None:
    """A volume without a backup is not among them, nor one that is not selected."""
    parents = [stored(volume, "p") for volume in ("a", "b", "other")]
    parents[1].tags["full"] = "2026-01-20T00:00:00Z"
    plan = World({"a": "p", "b": "p", "new": "p"}).plan(*parents)
    at = datetime(2026, 1, 20, 0, 0, 1, tzinfo=UTC)
    assert plan.full_reads_due(at, timedelta(days=7)) == {"a"}
    assert plan.full_reads_due(at, timedelta()) == set()
