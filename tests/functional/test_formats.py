"""Every command with output can also print it for programs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.site import Site

pytestmark = pytest.mark.lab


@dataclass
class Told:
    """A site with a volume that is backed up."""

    site: Site
    volume: str
    backup: str
    run: str


@pytest.fixture(scope="module")
def told(shared_site: Site) -> Told:
    volume = shared_site.cloud.create(name="told")
    shared_site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    result = shared_site.backup(volume)
    return Told(shared_site, volume, result.volumes[0].backup_id, result.run_id)


@pytest.mark.parametrize(
    "command",
    [
        "backup create VOLUME --dry-run",
        "backup list --long",
        "backup show BACKUP",
        "backup ls BACKUP",
        "backup diff BACKUP BACKUP",
        "backup verify BACKUP",
        "restore create BACKUP --dry-run",
        "run list",
        "run show RUN",
        "run watch RUN",
        "leftover list --lost",
        "repository list",
        "doctor",
    ],
)
def test_every_command_prints_valid_json(told: Told, command: str) -> None:
    names = {"VOLUME": told.volume, "BACKUP": told.backup, "RUN": told.run}
    done = told.site.cli(*(names.get(word, word) for word in command.split()), "-f", "json")
    assert done.returncode == 0, done
    rows = json.loads(done.stdout)
    assert isinstance(rows, list | dict)
    # A backup does not differ from itself, and there are no leftovers.
    assert rows or command.split()[1] in ("diff", "list"), rows


def test_a_shown_run_repeats_what_is_worth_a_remark(shared_site: Site) -> None:
    volume = shared_site.cloud.create(name="far")
    shared_site.cloud.fill(volume, "ext4", _far)
    result = shared_site.backup(volume)
    done = shared_site.cli("run", "show", result.run_id, "-f", "json")
    assert done.returncode == 0, done
    (remark,) = json.loads(done.stdout)["remarks"]
    assert remark.startswith("far: ")
    assert "/far" in remark


def _far(root: Path) -> None:
    """Make a file with a time that restic cannot store."""
    (root / "far").touch()
    os.utime(root / "far", (10**10, 10**10))


def test_repository_init_prints_valid_json(told: Told) -> None:
    place = told.site.home / "another"
    config = told.site.config(repository__location=place)
    done = told.site.cli("repository", "init", "-f", "json", config=config)
    assert done.returncode == 0, done
    ((row),) = json.loads(done.stdout)
    assert row["Location"] == str(place)
    assert row["Created"].endswith("Z")
    assert f"Created the repository {place}. Keep a copy of its password" in done.stderr
    assert (place / "config").exists()
