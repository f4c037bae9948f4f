"""A run removes old volumes last, can be resumed there, and keeps those that it must keep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.controlled_runs import open_runs, query
from tests.support.site import Site
from volflow.results.options import RestoreOptions
from volflow.runs import runner

pytestmark = pytest.mark.lab

OPTIONS = RestoreOptions(new=True, remove_old_vol=True)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def volume(site: Site) -> str:
    """A volume that is backed up."""
    found = site.cloud.create(name="old")
    site.cloud.fill(found, "ext4", lambda root: (root / "file").write_text("old"))
    assert str(site.backup(found).outcome) == "complete"
    return found


def volumes(site: Site) -> set[str]:
    return {volume.id for volume in site.cloud.client.volumes.list()}


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_resumed_run_removes_the_old_volume(
    site: Site, volume: str, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    remove = runner.remove_replaced

    def killed(*arguments: Any, **more: Any) -> Any:
        if done:
            remove(*arguments, **more)
        raise Killed

    with site.volflow() as volflow, monkeypatch.context() as patch:
        patch.setattr(runner, "remove_replaced", killed)
        with pytest.raises(Killed):
            volflow.restores.run(volflow.restores.plan([volume], OPTIONS))
    assert (volume in volumes(site)) is not done
    (left,) = open_runs(site)
    resumed = site.cli("run", "resume", left, "-f", "json")
    assert resumed.returncode == 0, resumed.stderr
    (row,) = json.loads(resumed.stdout)
    assert (row["outcome"], row["removed"], row["not_removed"]) == ("complete", True, None)
    assert volumes(site) == {site.cloud.adopt(row["target_id"])}
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("COMPLETE",)]
    site.cloud.known.volumes.discard(volume)


def test_an_aborted_run_removes_no_old_volume(
    site: Site, volume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the kill, no volume is removed."""

    def killed(*arguments: Any, **more: Any) -> Any:
        raise Killed

    with site.volflow() as volflow, monkeypatch.context() as patch:
        patch.setattr(runner, "remove_replaced", killed)
        with pytest.raises(Killed):
            volflow.restores.run(volflow.restores.plan([volume], OPTIONS))
    (left,) = open_runs(site)
    aborted = site.cli("run", "abort", left, "-f", "json")
    assert aborted.returncode == 0, aborted.stderr
    (row,) = json.loads(aborted.stdout)
    assert row["not_removed"] == f"volume {volume}: the run was aborted"
    assert volumes(site) == {volume, site.cloud.adopt(row["target_id"])}


def test_a_volume_that_was_to_stay_stays_though_it_is_free_by_then(site: Site, volume: str) -> None:
    with site.volflow() as volflow:
        with site.cloud.attached(volume) as device:
            plan = volflow.restores.plan([volume], OPTIONS)
            site.cloud.mounted(device, lambda root: (root / "file").write_text("newer"))
        result = volflow.restores.run(plan)
    (one,) = result.volumes
    assert not one.removed
    assert "it stays, as planned: it is 'in-use', attached" in str(one.not_removed)
    assert volumes(site) == {volume, site.cloud.adopt(one.target_id)}
    assert site.cloud.on(volume, lambda root: (root / "file").read_text()) == "newer"


def test_a_volume_that_was_attached_for_a_while_stays(site: Site, volume: str) -> None:
    with site.volflow() as volflow:
        plan = volflow.restores.plan([volume], OPTIONS)
        site.cloud.on(volume, lambda root: (root / "file").write_text("newer"))
        result = volflow.restores.run(plan)
    (one,) = result.volumes
    assert not one.removed
    assert "since the restore was planned" in str(one.not_removed)
    assert volumes(site) == {volume, site.cloud.adopt(one.target_id)}
