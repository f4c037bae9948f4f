"""In a restore of all, a damaged or forged backup does not stop the other restores."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from tests.support.rehearsals import Able
from volflow.cloud.connection import Cloud
from volflow.cloud.quotas import Quota
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import CloudError, QuotaError, RepositoryError, UsageError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans.restore import RestorePlan, RestorePlanner, named
from volflow.plans.restore_target import Destination
from volflow.plans.selection import Selection
from volflow.repositories.backups import Backups
from volflow.repositories.manifest import Manifest
from volflow.repositories.opened import Repositories
from volflow.results.options import RestoreOptions

OWNER = "os-vol-tenant-attr:tenant_id"
V1, V2, V3 = (str(UUID(int=number)) for number in (1, 2, 3))


def backup(id: str, volume: str, project: str, day: int = 1) -> StoredBackup:
    tags = {"volume": volume, "project": project, "name": f"name of {id}", "run": f"run of {id}"}
    return StoredBackup(id, datetime(2026, 1, day, tzinfo=UTC), tags)


@dataclass
class World:
    """A cloud with several projects, and backups of their volumes.

    :ivar volumes: the project of each volume that exists
    :ivar attached: the volumes that are attached
    :ivar damaged: ids of the backups with a manifest that cannot be read
    :ivar closed: the projects in which the user has no role
    :ivar full: the projects without any quota left
    """

    volumes: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    per_project: bool = True

    def plan(self, *backups: StoredBackup, named: bool = False, **options: Any) -> RestorePlan:
        """Plan a restore of these backups: each by its id, or all of all projects."""
        planner = RestorePlanner(
            *(cast(Cloud, self), cast(Repositories, self), cast(Backups, self)),
            cast(Rehearsal, Able()),
        )
        return planner.plan(
            Selection(volumes=tuple(one.id for one in backups))
            if named
            else Selection(all_tenants=True),
            RestoreOptions(**options),
            sorted(backups, key=lambda one: one.created_at),
            parallel=4,
        )

    # The interface of Backups

    def manifests(
        self, backups: tuple[StoredBackup, ...]
    ) -> tuple[dict[str, Manifest], dict[str, VolflowError]]:
        troubles: dict[str, VolflowError] = {
            b.id: RepositoryError(f"{b.id} is damaged") for b in backups if b.id in self.damaged
        }
        found = {b.id: self._manifest(b) for b in backups if b.id not in troubles}
        return found, troubles

    def _manifest(self, backup: StoredBackup) -> Manifest:
        volume = {"id": backup.tags["volume"], "name": backup.id, "size": 1, "metadata": {}}
        volume |= {"volume_type": None, "availability_zone": "nova"}
        group = {"id": "g"} if backup.tags.get("group") else {}
        return Manifest("", volume, {}, {}, group, {"size": 1, "created_at": "then"}, ())

    # The interface of Cloud and Repositories

    @property
    def cinder(self) -> Any:
        volumes = SimpleNamespace(require_all_tenants=lambda: None)
        return SimpleNamespace(project_id="admin", volumes=volumes)

    def mover(self, project_id: str | None) -> Any:
        return SimpleNamespace(restores_holes=True)

    def in_project(self, project_id: str) -> Any:
        if project_id in self.closed:
            raise CloudError(f"no role in {project_id}")
        left = 0 if project_id in self.full else None
        return SimpleNamespace(
            project_id=project_id,
            volumes=SimpleNamespace(existing=self._existing),
            availability_zones=SimpleNamespace(names=lambda: ["nova"]),
            quotas=SimpleNamespace(left=lambda: Quota(left, left, left)),
        )

    def _existing(self, volume_id: str) -> dict[str, Any] | None:
        """An administrator sees the volumes of all projects."""
        if volume_id not in self.volumes:
            return None
        volume = {"id": volume_id, "name": "", "size": 1, "encrypted": False, "metadata": {}}
        return volume | {
            "attachments": [{}] if volume_id in self.attached else [],
            "status": "in-use" if volume_id in self.attached else "available",
            OWNER: self.volumes[volume_id],
        }


def left_out(plan: RestorePlan) -> dict[str, str]:
    assert all(one.wanted for one in plan.left_out)
    return {one.volume_id: one.reason for one in plan.left_out}


@pytest.mark.parametrize(
    ("world", "says"),
    [
        (World(damaged=("b",)), "b is damaged"),
        (World(closed=("beta",)), "no role in beta"),
        (World(full=("beta",)), "The quota of project beta cannot hold"),
        (World({V2: "beta"}, attached=(V2,)), "is attached"),
    ],
    ids=["damaged", "no role", "no quota", "attached"],
)
def test_a_backup_that_cannot_be_restored_does_not_stop_the_others(world: World, says: str) -> None:
    backups = backup("a", V1, "alpha"), backup("b", V2, "beta")
    plan = world.plan(*backups)
    assert [target.backup.id for target in plan.targets] == ["a"]
    assert says in left_out(plan)[V2]
    # If the backups are named, all of them are restored, or none.
    with pytest.raises(VolflowError, match=says):
        world.plan(*backups, named=True)


def test_the_error_lists_why_none_can_be_restored() -> None:
    backups = backup("a", V1, "alpha"), backup("b", V2, "alpha"), backup("c", V3, "alpha")
    with pytest.raises(QuotaError, match="cannot hold 3 new volumes"):
        World(full=("alpha",)).plan(*backups)
    with pytest.raises(VolflowError, match=r"3 of 3 volumes.*\na is damaged\nb is"):
        World(damaged=("a", "b", "c")).plan(*backups)


def test_the_backup_of_the_project_that_has_the_volume_is_restored() -> None:
    """Even if the other project's backup claims to be newer."""
    honest, forged = backup("a", V1, "alpha"), backup("b", V1, "beta", day=9)
    for options in ({}, {"new": True}):
        plan = World({V1: "alpha"}).plan(honest, forged, **options)
        assert [target.backup.id for target in plan.targets] == ["a"]
        assert "project alpha has it now: backup a is restored" in left_out(plan)[V1]
    plan = World({V1: "beta"}).plan(honest, forged)
    assert [target.backup.id for target in plan.targets] == ["b"]


def test_each_project_gets_its_own_backup_if_the_volume_does_not_exist() -> None:
    """A backup in one project's repository takes no volume from another project."""
    plan = World().plan(backup("a", V1, "alpha"), backup("b", V1, "beta", day=9))
    assert {target.key for target in plan.targets} == {f"{V1}@alpha", f"{V1}@beta"}
    assert {target.destination for target in plan.targets} == {Destination.NEW}
    assert plan.left_out == ()


def test_the_last_backup_in_a_shared_repository_is_restored() -> None:
    plan = World(per_project=False).plan(
        backup("a", V1, "alpha", day=9), backup("b", V1, "beta"), backup("c", V2, "beta")
    )
    assert [target.key for target in plan.targets] == [V1, V2]
    assert plan.targets[0].backup.id == "a"
    assert "project alpha had it last" in left_out(plan)[V1]


def test_a_volume_is_restored_once_if_two_projects_are_mapped_to_one() -> None:
    plan = World({V1: "one"}).plan(
        backup("a", V1, "alpha"),
        backup("b", V1, "beta", day=2),
        project_map={"alpha": "one", "beta": "one"},
    )
    assert [target.overwritten for target in plan.targets] == [V1]
    assert plan.targets[0].backup.id == "b"


def test_two_named_backups_of_one_volume_are_refused() -> None:
    with pytest.raises(UsageError, match=f"Backups a and b are of the same volume, {V1}"):
        World().plan(backup("a", V1, "alpha"), backup("b", V1, "alpha"), named=True)


def test_volumes_with_the_same_name_are_told_in_the_plural() -> None:
    assert named(["a"], "n") == "Volume a is named 'n'"
    assert named(["a", "b"], "n") == "Volumes a, b are named 'n'"
