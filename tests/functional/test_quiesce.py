"""Guests are frozen around snapshots of a real Cinder, and thawed whatever happens to volflow."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.controlled_runs import open_runs
from tests.support.guest import Guest
from tests.support.site import Site
from tests.support.waiting import until_available, until_gone

pytestmark = pytest.mark.lab

# What a command of the operator can do to volflow, which has started the process that runs it.
VOLFLOW = "volflow=$(awk '/^PPid:/ {print $2}' /proc/$PPID/status)"
# Kills a process as soon as Cinder knows of a snapshot of a volume.
KILLS = """
import os, sqlite3, sys, time
database, volume, pid = sys.argv[1:]
rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
while not rows.execute("SELECT 1 FROM snapshots WHERE volume_id = ?", [volume]).fetchall():
    time.sleep(0.01)
os.kill(int(pid), 9)
"""


@pytest.fixture
def guest(site: Site) -> Guest:
    """A guest that is frozen for each backup of the site."""
    found = Guest(site.home)
    site.overrides |= {
        "quiesce__pre_command": found.pre,
        "quiesce__post_command": found.post,
        "quiesce__limit": 120,
        "quiesce__command_limit": 120,
    }
    return found


@pytest.fixture
def volume(site: Site) -> str:
    found = site.cloud.create(name="database")
    site.cloud.fill(found, "ext4", lambda root: (root / "file").write_text("content\n"))
    return found


def backed_up(site: Site, *what: str, status: int = 0) -> list[dict[str, Any]]:
    done = site.cli("backup", "create", *what, "-f", "json")
    assert done.returncode == status, done
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_a_snapshot_is_made_between_freeze_and_thaw(
    site: Site, guest: Guest, volume: str, the_lab: Any
) -> None:
    """Cinder's database has none when the guest is frozen, and an available one at the thaw."""
    looks = site.home / "looks.py"
    looks.write_text(
        "import sqlite3, sys\n"
        "rows = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True, timeout=30)\n"
        "print(*(row[0] for row in rows.execute(\n"
        "    'SELECT status FROM snapshots WHERE volume_id = ? AND NOT deleted',"
        " [sys.argv[2]])))\n"
    )
    look = f"{sys.executable} {looks} {the_lab.directory.database('cinder')} {volume}"
    for stage in ("pre", "post"):
        guest.command(stage, f"{look} >> {guest.log}")
    with site.cloud.attached(volume, host="another-host"):
        (row,) = backed_up(site, volume)
    assert (row["outcome"], row["remarks"]) == ("complete", [])
    assert guest.events() == ["pre", "post", "available"]
    assert guest.told("post")["VOLFLOW_VOLUME_NAME"] == "database"


@pytest.mark.parametrize("last", ["kill -KILL $volflow", "kill -KILL $volflow; exec sleep 1000"])
def test_a_killed_volflow_leaves_no_frozen_guest(
    site: Site, guest: Guest, volume: str, last: str
) -> None:
    """Killed while the guest is frozen, or while it is being frozen."""
    guest.command("pre", VOLFLOW, last)
    done = site.cli("backup", "create", volume)
    assert done.returncode == -signal.SIGKILL, done
    guest.wait("pre", "post")
    guest.command("pre")
    (run,) = open_runs(site)
    resumed = site.cli("run", "resume", run, "-f", "json")
    assert resumed.returncode == 0, resumed
    # There was no snapshot yet.
    assert guest.events() == ["pre", "post"] * 2


def test_a_volflow_that_is_killed_when_the_snapshot_is_requested_thaws(
    site: Site, guest: Guest, volume: str, the_lab: Any
) -> None:
    killer = site.home / "killer.py"
    killer.write_text(KILLS)
    database = the_lab.directory.database("cinder")
    guest.command(
        "pre", VOLFLOW, f"setsid {sys.executable} {killer} {database} {volume} $volflow &"
    )
    done = site.cli("backup", "create", volume)
    assert done.returncode == -signal.SIGKILL, done
    guest.wait("pre", "post")
    (run,) = open_runs(site)
    resumed = site.cli("run", "resume", run, "-f", "json")
    assert resumed.returncode == 0, resumed
    (row,) = json.loads(resumed.stdout)
    assert row["outcome"] == "complete"
    # The snapshot that exists is used, and needs no other freeze.
    assert guest.events() == ["pre", "post"]


def test_a_guest_is_thawed_at_the_deadline_although_volflow_hangs(
    site: Site, guest: Guest, volume: str
) -> None:
    site.overrides["quiesce__limit"] = 2
    guest.command("pre", VOLFLOW, "kill -STOP $volflow", "echo $volflow > $0.pid")
    # It goes on after the thaw, and so does not know better.
    guest.command("post", f"kill -CONT $(cat {guest.pre}.pid)")
    (row,) = backed_up(site, volume)
    assert guest.events() == ["pre", "post"]
    assert row["outcome"] == "complete"
    (remark,) = row["remarks"]
    assert "thawed after 2 s, before Cinder showed its snapshot as available" in remark


def test_a_stopped_volflow_thaws_first(site: Site, guest: Guest, volume: str) -> None:
    guest.command("pre", VOLFLOW, "kill -TERM $volflow")
    done = site.cli("backup", "create", volume)
    assert done.returncode == 1, done
    assert guest.events() == ["pre", "post"]
    (run,) = open_runs(site)
    guest.command("pre")
    assert site.cli("run", "resume", run).returncode == 0
    assert guest.events() in (["pre", "post"], ["pre", "post"] * 2)


def test_a_failing_freeze_fails_the_volume_or_is_a_remark(
    site: Site, guest: Guest, volume: str
) -> None:
    guest.command("pre", "echo the agent is not connected", "exit 1")
    (row,) = backed_up(site, volume, status=1)
    assert "failed with status 1: the agent is not connected" in row["error"]
    assert guest.events() == ["pre", "post"]
    site.overrides["quiesce__on_failure"] = "warning"
    (row,) = backed_up(site, volume)
    assert row["outcome"] == "complete"
    assert "the agent is not connected" in row["remarks"][0]
    assert guest.events() == ["pre", "post"] * 2


@pytest.fixture
def group(site: Site) -> Iterator[str]:
    """A group of two volumes."""
    client = site.cloud.client
    kinds = {kind.name: kind.id for kind in client.group_types.list()}
    kind = kinds.get("quiet") or client.group_types.create("quiet").id
    types = [each.id for each in client.volume_types.list() if each.name == "lab"]
    made = client.groups.create(kind, ",".join(types), "pair")
    until_available(client.groups.get, made.id)
    volumes = [
        site.cloud.create(name=name, volume_type="lab", group_id=made.id) for name in ("a", "b")
    ]
    for volume in volumes:
        site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    yield str(made.id)
    client.groups.update(made.id, remove_volumes=",".join(volumes))
    until_available(client.groups.get, made.id)
    client.groups.delete(made.id)
    until_gone(client.groups.get, made.id)


def test_the_volumes_of_a_group_are_frozen_together(site: Site, guest: Guest, group: str) -> None:
    rows = backed_up(site, "--group", group)
    assert guest.events() == ["pre", "post"]
    told = guest.told("pre")
    assert told["VOLFLOW_GROUP"] == group
    assert set(told["VOLFLOW_VOLUMES"].split(",")) == {row["volume_id"] for row in rows}


def test_a_failing_freeze_fails_the_whole_group(site: Site, guest: Guest, group: str) -> None:
    guest.command("pre", "echo the agent is not connected", "exit 1")
    rows = backed_up(site, "--group", group, status=1)
    assert [row["outcome"] for row in rows] == ["failed"] * 2
    assert all("the agent is not connected" in row["error"] for row in rows)
    assert guest.events() == ["pre", "post"]


def test_a_dry_run_tells_of_the_commands_and_runs_none(
    site: Site, guest: Guest, volume: str
) -> None:
    done = site.cli("backup", "create", "--dry-run", volume)
    assert done.returncode == 0, done
    assert f"Before the snapshot of a volume or group runs: {guest.pre}." in done.stderr
    assert f"After it: {guest.post} ([quiesce])." in done.stderr
    assert guest.events() == []


def test_doctor_checks_that_the_commands_can_be_executed(site: Site, guest: Guest) -> None:
    def finding(status: int) -> dict[str, str]:
        done = site.cli("doctor", "-f", "json")
        assert done.returncode == status, done
        rows = {row["Check"]: row for row in json.loads(done.stdout)}
        return dict(rows["quiesce"])

    assert finding(0)["Good"] == "yes"
    Path(guest.post).chmod(0o600)
    found = finding(1)
    assert "The post_command of [quiesce] cannot be started" in found["Finding"]
    assert guest.events() == []
