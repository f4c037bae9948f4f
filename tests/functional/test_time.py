"""Volumes that change after the plan, and volumes as they were at an earlier time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.site import Site
from tests.support.waiting import until
from volflow.plans.selection import Selection

pytestmark = pytest.mark.lab


def test_a_volume_that_is_deleted_before_its_turn_is_left_out(site: Site) -> None:
    """The run still shows which volumes the project has: a restore of all leaves it out too."""
    volumes = [site.cloud.create(name=f"here-{number}") for number in range(3)]
    for volume in volumes:
        site.cloud.format(volume, "ext4")
    everything = Selection(everything=True)
    with site.volflow() as volflow:
        volflow.backups.create(everything)
        plan = volflow.backups.plan(everything)
        site.cloud.delete(volumes[1])
        result = volflow.backups.run(plan)
    with site.volflow(DEFAULT__state_dir=site.home / "another state") as volflow:
        restore = volflow.restores.plan(everything)
    assert [(one.volume_id, one.wanted) for one in result.left_out] == [(volumes[1], False)]
    assert {one.volume_id: str(one.outcome) for one in result.volumes} == {
        volumes[0]: "complete",
        volumes[2]: "complete",
    }
    assert result.outcome.exit_status == 0
    assert {target.manifest.volume_id for target in restore.targets} == {volumes[0], volumes[2]}
    assert [one.volume_id for one in restore.left_out] == [volumes[1]]


def test_a_target_that_vanishes_after_the_plan_fails_alone(site: Site) -> None:
    volumes = [site.cloud.create(name=f"here-{number}") for number in range(2)]
    for volume in volumes:
        site.cloud.format(volume, "ext4")
    site.backup(*volumes)
    with site.volflow() as volflow:
        plan = volflow.restores.plan(Selection(everything=True))
        site.cloud.delete(volumes[0])
        result = volflow.restores.run(plan)
    outcomes = {volume.volume_id: str(volume.outcome) for volume in result.volumes}
    assert outcomes == {volumes[0]: "failed", volumes[1]: "complete"}


def test_a_project_without_volumes_is_reported(site: Site) -> None:
    done = site.cli("backup", "create", "--all")
    assert done.returncode == 1, done
    assert "There is no volume to back up in this project." in done.stderr
    done = site.cli("restore", "create", "--all")
    assert done.returncode == 1, done
    assert "No backup matches the selection" in done.stderr


def test_volumes_come_back_as_they_were_at_a_time(site: Site) -> None:
    """``--at`` uses each volume's last backup up to that time, and leaves out later volumes."""
    early = site.cloud.create(name="early")
    site.cloud.fill(early, "ext4", lambda root: (root / "file").write_text("first"))
    site.backup(early)
    moment = datetime.now(UTC)
    late = site.cloud.create(name="late")
    site.cloud.format(late, "ext4")
    site.cloud.on(early, lambda root: (root / "file").write_text("second"))
    site.backup(early, late)
    with site.volflow() as volflow:
        now = volflow.restores.plan(Selection(everything=True))
        then = volflow.restores.plan(Selection(everything=True), at=moment)
        assert {target.manifest.volume_id for target in now.targets} == {early, late}
        assert {target.manifest.volume_id for target in then.targets} == {early}
        assert str(volflow.restores.run(then).outcome) == "complete"
    assert site.cloud.on(early, lambda root: (root / "file").read_text()) == "first"
    before = (moment - timedelta(days=1)).isoformat()
    done = site.cli("restore", "create", "--all", "--at", before)
    assert done.returncode == 1, done
    assert "is before the first backup" in done.stderr


def test_what_was_deleted_does_not_come_back(site: Site) -> None:
    """A restore of all restores the volumes that the last backup of all covered, according to the
    repository only.
    """
    volumes = {name: site.cloud.create(name=name) for name in ("stays", "goes")}
    for volume in volumes.values():
        site.cloud.format(volume, "ext4")
    everything = Selection(everything=True)
    with site.volflow() as volflow:
        volflow.backups.create(everything)
        # Times are whole seconds: the next backup must have a later one.
        moment = max(backup.taken_at for backup in volflow.backups.list())
        until(lambda: datetime.now(UTC) > moment + timedelta(seconds=2))
        site.cloud.delete(volumes["goes"])
        volflow.backups.create(everything)
    with site.volflow(DEFAULT__state_dir=site.home / "another state") as volflow:
        now = volflow.restores.plan(everything)
        then = volflow.restores.plan(everything, at=moment)
        named = volflow.restores.plan(["goes"])
    assert [target.manifest.volume_id for target in now.targets] == [volumes["stays"]]
    (left,) = now.left_out
    assert left.volume_id == volumes["goes"]
    assert "no longer existed" in left.reason
    assert not left.wanted
    assert {target.manifest.volume_id for target in then.targets} == set(volumes.values())
    assert [target.manifest.volume_id for target in named.targets] == [volumes["goes"]]


def test_what_cannot_be_restored_stops_no_other(site: Site) -> None:
    """This holds for a restore of all; of named volumes, all or none are restored."""
    volumes = [site.cloud.create(name=f"one of {number}") for number in range(2)]
    for volume in volumes:
        site.cloud.format(volume, "ext4")
    site.backup(*volumes)
    with site.cloud.attached(volumes[0]):
        done = site.cli("restore", "create", "--all", "--yes", "-f", "json")
        assert done.returncode == 3, done
        rows = {row["volume_id"]: row for row in json.loads(done.stdout)}
        assert rows[volumes[0]]["outcome"] == "left out"
        assert "is attached" in rows[volumes[0]]["error"]
        assert rows[volumes[1]]["outcome"] == "complete"
        done = site.cli("restore", "create", *volumes, "--yes")
        assert done.returncode == 1, done
        # The question shows what will not be restored.
        done = site.cli("restore", "create", "--all")
        assert done.returncode == 2, done
        assert "one of 0: left out" in done.stderr
