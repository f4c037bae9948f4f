"""A copy of a killed run is no backup until it is known which files it lacks.

The fixture ``site`` looks for remaining resources after each test.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cloud import run as shell
from tests.support.controlled_runs import begin, hook, open_runs, run
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]


@pytest.fixture
def damaged(site: Site) -> str:
    """A volume with a file that cannot be read."""
    volume = site.cloud.create(name="damaged")

    def fill(root: Path) -> None:
        (root / "good").write_text("good\n")
        (root / "bad").write_bytes(os.urandom(2**20))

    site.cloud.fill(volume, "ext4", fill)
    with site.cloud.attached(volume) as device:
        # The file's first block is far beyond the end of the device, so reading it fails.
        shell("debugfs", "-w", "-R", "set_inode_field /bad block[5] 999999999", device)
        shell("debugfs", "-w", "-R", "sif /bad block[3] 0x00000000", device)
    return volume


def killed_when_stored(site: Site, volume: str) -> str:
    """Kill a backup when restic has stored the data; return the run that stays open."""
    # The verdict never comes, however late the test sees the data.
    program = site.home / "restic-without-verdicts"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *checked-*) exec sleep infinity ;; esac\nexec restic "$@"\n'
    )
    program.chmod(0o755)
    process = begin(site, "backup", volume, repository__restic=program)
    until(lambda: bool(site.stored()))
    os.kill(process.pid, signal.SIGKILL)
    process.end()
    (left,) = open_runs(site)
    return left


def listed(site: Site, **config: Any) -> list[str]:
    """The outcomes of the backups in the list."""
    done = site.cli("backup", "list", "-f", "json", config=site.config(**config))
    assert done.returncode == 0, done.stderr
    return [row["Outcome"] for row in json.loads(done.stdout)]


def test_a_copy_counts_on_no_host_before_its_errors_are_known(
    site: Site, damaged: str, tmp_path: Path
) -> None:
    left = killed_when_stored(site, damaged)
    assert listed(site) == ["unfinished"]
    elsewhere = {"DEFAULT__state_dir": tmp_path / "another host"}
    assert listed(site, **elsewhere) == ["unfinished"]
    for what in (("damaged",), ("--all",)):
        done = site.cli("restore", "create", *what, "--new", "--dry-run")
        assert done.returncode == 1, done
        assert "No backup" in done.stderr or "no finished backup" in done.stderr
    (copy,) = site.stored()
    done = site.cli("restore", "create", copy[:12], "--new", "--dry-run")
    assert done.returncode == 0, done
    assert "nobody knows whether all files are in it" in done.stderr

    answer = run(site, "resume", left)
    assert answer.result == "partial", answer
    assert listed(site) == listed(site, **elsewhere) == ["partial"]
    shown = json.loads(site.cli("backup", "show", "damaged", "-f", "json").stdout)
    assert [Path(path).name for path in shown["unread"]] == ["bad"]


def test_an_abort_removes_a_copy_that_two_processes_left(site: Site, damaged: str) -> None:
    left = killed_when_stored(site, damaged)
    killed = begin(site, "resume", left, hooks=(hook("device", "kill"),)).end()
    assert killed.exit == -9, killed
    assert listed(site) == ["unfinished"]
    done = site.cli("run", "abort", left)
    assert done.returncode == 0, done
    assert listed(site) == []
    assert site.stored() == []
