"""Leftovers are listed, kept while they may be in use, and then removed."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.controlled_runs import (
    Bystander,
    held,
    killed,
)
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]


def test_what_cannot_be_removed_is_named_and_can_be_removed_later(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="unmount") as process:
        (clone,) = [v.id for v in site.cloud.client.volumes.list() if v.id != volume]
        # Somebody has made a snapshot of the temporary volume.
        hindrance = site.cloud.client.volume_snapshots.create(clone, force=True)
        until(lambda: site.cloud.client.volume_snapshots.get(hindrance.id).status == "available")
        process.go_on()
        answer = process.end()
    # The backup is stored, and counts.
    assert answer.result == "complete"
    named = " ".join(answer.volumes[0]["leftovers"])
    assert clone in named
    listed = site.cli("leftover", "list", "-f", "json")
    rows = json.loads(listed.stdout)
    assert clone in {row["ID"] for row in rows}
    # Some storage can delete a snapshot before the volume that was made from it.
    assert "volume" in {row["Kind"] for row in rows} <= {"volume", "snapshot"}

    hindered = site.cli("leftover", "clean")
    assert hindered.returncode == 1
    assert "still there" in hindered.stdout
    site.cloud.delete_snapshot(hindrance.id)
    cleaned = site.cli("leftover", "clean")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert json.loads(site.cli("leftover", "list", "-f", "json").stdout) == []


def test_leftovers_of_a_lost_database_are_found_and_removed(site: Site, volume: str) -> None:
    bystander = Bystander(site)
    other = site.cloud.clones(volume, ["other"])[0]
    killed(site, "backup", volume, step="copy")
    shutil.rmtree(site.state)
    mine = {volume, other, bystander.volume}
    with held(site, "backup", other, step="copy") as alive:
        made = {v.id for v in site.cloud.client.volumes.list()} - mine
        assert len(made) == 2
        assert json.loads(site.cli("leftover", "list", "-f", "json").stdout) == []
        listed = json.loads(site.cli("leftover", "list", "--lost", "-f", "json").stdout)
        assert {row["Volume"] for row in listed} == {volume}
        assert {row["Kind"] for row in listed} == {"volume", "snapshot"}

        # The run may still be active.
        spared = site.cli("leftover", "clean", "--lost")
        assert spared.returncode == 1
        assert "sign of life" in spared.stdout
        assert {v.id for v in site.cloud.client.volumes.list()} - mine == made

        cleaned = site.cli("leftover", "clean", "--lost", "--older-than", "0")
        assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
        left = {v.id for v in site.cloud.client.volumes.list()} - mine
        # The resources of the active run remain, and it continues.
        assert len(left) == 1
        assert left < made
        alive.go_on()
        assert alive.end().result == "complete"
    assert bystander.untouched()


def test_a_run_of_another_database_that_is_alive_is_spared(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="copy") as alive:
        config = site.config(DEFAULT__state_dir=site.home / "another state")
        spared = site.cli("leftover", "clean", "--lost", config=config)
        assert spared.returncode == 1
        assert "sign of life" in spared.stdout
        alive.go_on()
        assert alive.end().result == "complete"
