"""Runs are resumed after a kill, a reboot and on another host, and they are aborted.

The fixture ``site`` looks for remaining resources after each test.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.controlled_runs import (
    begin,
    held,
    hook,
    killed,
    open_runs,
    query,
    run,
)
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

VERBS = ("backup", "restore")


# Resume


@pytest.mark.parametrize("verb", VERBS)
def test_after_a_reboot_what_belongs_to_the_boot_is_done_again(
    site: Site, volume: str, verb: str
) -> None:
    before, stored = site.content(volume), site.stored()
    left = killed(site, verb, volume, step="copy")
    attachments = {a.id for a in site.cloud.client.attachments.list()}
    assert len(attachments) == 1
    reboot(site)

    process = begin(site, "resume", left, hooks=(hook("unmount", "hold"),))
    process.wait_for_hook()
    now = {a.id for a in site.cloud.client.attachments.list()}
    process.go_on()
    answer = process.end()
    assert answer.result == "complete", answer
    assert len(now) == 1
    assert not now & attachments
    assert site.content(volume) == before
    assert len(site.stored()) == len(stored) + (verb == "backup")


def reboot(site: Site) -> None:
    """Simulate a reboot: the devices no longer exist, the boot has another id, the lease ran out.

    Another boot id alone does not prove that the process is dead: a cloned host has one too.
    """
    from lab import loop
    from tests.support.auditor import loops

    pool = str(site.auditor.pool)
    for device, backing in loops():
        if backing.startswith(f"{pool}/"):
            for found in loop.of_file(Path(backing)):
                assert loop.detach(found), device
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    other = "0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f"
    query(site, "UPDATE run SET boot_id = ?", other)
    query(site, "UPDATE ledger SET details = replace(details, ?, ?)", boot, other)
    query(site, "UPDATE lease SET owner = replace(owner, ?, ?)", boot, other)
    query(site, "UPDATE lease SET until = '2020-01-01 00:00:00'")


def test_on_another_host_the_dead_one_loses_its_attachment(site: Site, volume: str) -> None:
    left = killed(site, "backup", volume, step="copy")
    dead = {a.id for a in site.cloud.client.attachments.list()}
    elsewhere = site.home / "copy of the state"
    shutil.copytree(site.state, elsewhere)
    config = site.config(DEFAULT__state_dir=elsewhere)
    there = ("unshare", "--uts", "sh", "-c", 'hostname other-host && exec "$@"', "sh")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    other = "0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f"
    query(site, "UPDATE lease SET owner = replace(owner, ?, ?)", boot, other, state=elsewhere)

    # The run could still be active: only its lease shows that.
    refused = site.cli("run", "resume", left, config=config, prefix=there)
    assert refused.returncode == 1
    assert f"is being driven by process {process_of(site, left)} on host" in refused.stderr
    assert {a.id for a in site.cloud.client.attachments.list()} == dead

    query(site, "UPDATE lease SET until = '2020-01-01 00:00:00'", state=elsewhere)
    done = site.cli("run", "resume", left, config=config, prefix=there)
    assert done.returncode == 0, done.stderr
    assert query(site, "SELECT host, state FROM run WHERE id = ?", left, state=elsewhere) == [
        ("other-host", "COMPLETE")
    ]
    assert query(site, "SELECT tag FROM ledger WHERE state != 'GONE'", state=elsewhere) == []
    assert list(site.cloud.client.attachments.list()) == []
    assert len(site.stored()) == 2
    # From now on the copy is the state.
    shutil.rmtree(site.state)
    elsewhere.rename(site.state)


def test_in_another_pid_namespace_a_run_is_taken_only_when_its_lease_has_run_out(
    site: Site, volume: str
) -> None:
    # Containers can share the host's name, and the state database on one of its disks.
    left = killed(site, "backup", volume, step="copy")
    there = ("unshare", "--pid", "--fork", "--mount-proc")
    refused = site.cli("run", "resume", left, prefix=there)
    assert refused.returncode == 1
    assert f"is being driven by process {process_of(site, left)} on host" in refused.stderr
    assert "the run is free at" in refused.stderr
    query(site, "UPDATE lease SET until = '2020-01-01 00:00:00'")
    done = site.cli("run", "resume", left, prefix=there)
    assert done.returncode == 0, done.stderr


def process_of(site: Site, run_id: str) -> int:
    return int(query(site, "SELECT pid FROM run WHERE id = ?", run_id)[0][0])


def test_one_of_two_processes_resumes_and_the_other_says_who_does(site: Site, volume: str) -> None:
    left = killed(site, "backup", volume, step="copy")
    hold = (hook("copy", "hold"),)
    both = [begin(site, "resume", left, hooks=hold) for _ in range(2)]
    until(lambda: any(not each.process.is_alive() for each in both))
    (loser,) = [each for each in both if not each.process.is_alive()]
    (winner,) = [each for each in both if each is not loser]
    refused = loser.end()
    winner.wait_for_hook()
    winner.go_on()
    assert winner.end().result == "complete"
    assert refused.error
    assert f"is being driven by process {winner.pid} on host" in refused.error
    assert len(site.stored()) == 2


def test_resume_all_leaves_those_alone_that_are_driven(site: Site, volume: str) -> None:
    others = site.cloud.clones(volume, ["second", "third", "fourth", "fifth"])
    dead = [
        killed(site, "backup", others[0], step="temporary volume", when="after"),
        killed(site, "backup", others[1], step="copy", when="after"),
    ]
    # Its repository no longer exists; that must not affect other runs.
    lost = killed(site, "backup", others[2], step="probe")
    query(
        site, "UPDATE run SET request = replace(request, '/repository', '/gone') WHERE id = ?", lost
    )
    # For example, from a release with another form of request.
    odd = killed(site, "backup", others[3], step="probe")
    query(
        site, "UPDATE run SET request = replace(request, 'parallel', 'abreast') WHERE id = ?", odd
    )
    with held(site, "backup", volume, step="copy") as alive:
        done = site.cli("run", "resume", "--all")
        assert "/gone" in done.stderr
        assert f"Run {odd} could not be resumed: Another release of volflow began" in done.stderr
        assert "its request does not contain 'parallel'" in done.stderr
        assert done.returncode == 1
        states = dict(query(site, "SELECT id, state FROM run"))
        assert [states[each] for each in dead] == ["COMPLETE", "COMPLETE"]
        assert [states[lost], states[odd]] == ["RUNNING", "RUNNING"]
        alive.go_on()
        assert alive.end().result == "complete"
    query(
        site, "UPDATE run SET request = replace(request, '/gone', '/repository') WHERE id = ?", lost
    )
    query(
        site, "UPDATE run SET request = replace(request, 'abreast', 'parallel') WHERE id = ?", odd
    )
    done = site.cli("run", "resume", "--all")
    assert done.returncode == 0, done.stderr
    assert site.cli("run", "resume", "--all").returncode == 0


# Abort


@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_run_is_aborted(site: Site, volume: str, verb: str) -> None:
    before = site.content(volume)
    left = killed(site, verb, volume, step="copy")
    listed = site.cli("run", "list", "-f", "json", "-c", "ID", "-c", "State")
    assert {"ID": left, "State": "interrupted"} in json.loads(listed.stdout)
    shown = json.loads(site.cli("run", "show", left, "-f", "json").stdout)
    assert shown["state"] == "interrupted"
    assert f"({volume}): interrupted, at 'copy'" in shown["volumes"][0]
    done = site.cli("run", "abort", left)
    assert done.returncode == 0, done.stderr
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert site.content(volume) == before
    again = site.cli("run", "abort", left)
    assert again.returncode == 2
    assert "has ended already: it is aborted" in again.stderr


def test_a_killed_restore_is_undone_without_a_repository(site: Site, volume: str) -> None:
    site.cloud.on(volume, lambda root: (root / "newer").write_text("than the backup"))
    before = site.content(volume)
    left = killed(site, "restore", volume, step="copy", when="after")
    away = site.repository.rename(site.home / "away")
    done = site.cli("run", "abort", left)
    away.rename(site.repository)
    assert done.returncode == 0, done.stderr
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert query(site, "SELECT tag FROM ledger WHERE state != 'GONE'") == []
    assert site.content(volume) == before


@pytest.mark.parametrize("parallel", [1, 2], ids=["not begun", "begun"])
def test_a_restore_whose_backup_is_gone_fails_that_volume_alone(
    site: Site, volume: str, parallel: int
) -> None:
    other = site.cloud.clones(volume, ["other"])[0]
    backup = site.backup(other).volumes[0].backup_id
    for each in (volume, other):
        site.cloud.on(each, lambda root: (root / "newer").write_text("than the backup"))
    before = site.content(other)
    left = killed(site, "restore", volume, other, step="copy", backup__parallel=parallel)
    site.restic("forget", backup)
    answer = run(site, "resume", left)
    assert answer.error is None
    told = {one["volume_id"]: one for one in answer.volumes}
    assert told[volume]["outcome"] == "complete"
    assert told[other]["outcome"] == "failed"
    assert "holds no such backup" in told[other]["error"]
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("FAILED",)]
    assert b"newer" not in site.content(volume)
    assert site.content(other) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_is_driven_is_aborted_by_asking(site: Site, volume: str, verb: str) -> None:
    before = site.content(volume)
    with held(site, verb, volume, step="copy") as process:
        left = open_runs(site)[0]
        done = site.cli("run", "abort", left[:8])
        assert done.returncode == 0, done.stderr
        assert "was asked to undo it" in done.stderr
        # The run checks every few seconds whether it must stop, and logs it.
        until(lambda: f"Aborting run {left}" in process.order.log.read_text())
        process.go_on()
        answer = process.end()
    assert answer.result == "failed", answer
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert site.content(volume) == before
