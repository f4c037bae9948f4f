"""What stops one volume of a restore of all stops no other, and what is forged stops nobody."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from volflow.cloud.connection import Cloud
from volflow.cloud.quotas import Quota
from volflow.errors import CloudError, QuotaError, RepositoryError, UsageError, VolflowError
from volflow.movers.base import StoredBackup
from volflow.plans.restore import RestorePlan, RestorePlanner
from volflow.plans.restore_groups import notes_on_groups
from volflow.plans.restore_target import Destination, RestoreTarget
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
    """Projects with volumes in them, and backups of these.

    :ivar volumes: the project of each volume that is there
    :ivar attached: those of them that are attached
    :ivar damaged: the backups whose manifest cannot be read
    :ivar closed: the projects in which the user has no role
    :ivar full: the projects whose quota holds nothing more
    """

    volumes: dict[str, str] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    full: tuple[str, ...] = ()
    per_project: bool = True

    def plan(self, *backups: StoredBackup, named: bool = False, **options: Any) -> RestorePlan:
        """Plan a restore of these backups: each by its id, or as those of all projects."""
        planner = RestorePlanner(cast(Cloud, self), cast(Repositories, self), cast(Backups, self))
        return planner.plan(
            Selection(volumes=tuple(one.id for one in backups))
            if named
            else Selection(all_tenants=True),
            RestoreOptions(**options),
            sorted(backups, key=lambda one: one.created_at),
            parallel=4,
        )

    # As the archive

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

    # As the cloud and the repositories

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
        """An administrator sees the volumes of all."""
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
def test_nobody_pays_for_anothers_trouble(world: World, says: str) -> None:
    backups = backup("a", V1, "alpha"), backup("b", V2, "beta")
    plan = world.plan(*backups)
    assert [target.backup.id for target in plan.targets] == ["a"]
    assert says in left_out(plan)[V2]
    # Named, they are restored all or none.
    with pytest.raises(VolflowError, match=says):
        world.plan(*backups, named=True)


def test_nothing_can_be_restored() -> None:
    backups = backup("a", V1, "alpha"), backup("b", V2, "alpha"), backup("c", V3, "alpha")
    with pytest.raises(QuotaError, match="cannot hold 3 new volumes"):
        World(full=("alpha",)).plan(*backups)
    with pytest.raises(VolflowError, match=r"3 of 3 volumes.*\na is damaged\nb is"):
        World(damaged=("a", "b", "c")).plan(*backups)


def test_the_project_that_has_the_volume_gets_it() -> None:
    """However new the other's backup is, and whatever it says."""
    honest, forged = backup("a", V1, "alpha"), backup("b", V1, "beta", day=9)
    for options in ({}, {"new": True}):
        plan = World({V1: "alpha"}).plan(honest, forged, **options)
        assert [target.backup.id for target in plan.targets] == ["a"]
        assert "project alpha has it now: backup a is restored" in left_out(plan)[V1]
    plan = World({V1: "beta"}).plan(honest, forged)
    assert [target.backup.id for target in plan.targets] == ["b"]


def test_each_project_gets_its_own_where_nobody_has_the_volume() -> None:
    """What one writes into its own repository takes nothing from another."""
    plan = World().plan(backup("a", V1, "alpha"), backup("b", V1, "beta", day=9))
    assert {target.key for target in plan.targets} == {f"{V1}@alpha", f"{V1}@beta"}
    assert {target.destination for target in plan.targets} == {Destination.NEW}
    assert plan.left_out == ()


def test_one_operators_repository_is_believed() -> None:
    plan = World(per_project=False).plan(
        backup("a", V1, "alpha", day=9), backup("b", V1, "beta"), backup("c", V2, "beta")
    )
    assert [target.key for target in plan.targets] == [V1, V2]
    assert plan.targets[0].backup.id == "a"
    assert "project alpha had it last" in left_out(plan)[V1]


def test_two_projects_that_become_one() -> None:
    """The one volume is restored once."""
    plan = World({V1: "one"}).plan(
        backup("a", V1, "alpha"),
        backup("b", V1, "beta", day=2),
        project_map={"alpha": "one", "beta": "one"},
    )
    assert [target.overwritten for target in plan.targets] == [V1]
    assert plan.targets[0].backup.id == "b"


def test_one_volume_that_is_named_twice() -> None:
    with pytest.raises(UsageError, match=f"Backups a and b are of the same volume, {V1}"):
        World().plan(backup("a", V1, "alpha"), backup("b", V1, "alpha"), named=True)


def test_a_group_of_several_moments_is_told() -> None:
    def target(id: str, run: str) -> RestoreTarget:
        one = backup(id, id, "alpha")
        one = StoredBackup(one.id, one.created_at, {**one.tags, "run": run, "group": "g"})
        return RestoreTarget(one, World()._manifest(one), Destination.NEW)

    assert notes_on_groups([target("a", "r1"), target("b", "r1")]) == []
    (note,) = notes_on_groups([target("a", "r1"), target("b", "r2")])
    assert note == (
        "group g: the backups of its volumes are from different times: a from run r1, then, "
        "b from run r2, then"
    )
