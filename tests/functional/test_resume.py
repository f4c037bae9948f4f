"""Runs go on after a kill, a reboot and on another host; they are suspended, aborted, cleaned up.

What is left behind is looked for by the fixture ``site``, when each test has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from persistence import Run
from tests.support import tree
from tests.support.controlled_runs import (
    Bystander,
    begin,
    held,
    hook,
    killed,
    open_runs,
    query,
    run,
    until,
)
from tests.support.rest_server import RestServer
from tests.support.site import Site
from tests.support.volflow_process import ready
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volumes import Volumes
from volflow.errors import ResourceNotFoundError
from volflow.host import privilege
from volflow.results.options import RestoreOptions
from volflow.results.outcome import RunResult
from volflow.runs.runner import Runner

pytestmark = pytest.mark.lab

# Seconds within which a run is suspended.
PATIENCE = 10.0
VERBS = ("backup", "restore")


@pytest.fixture(scope="module", autouse=True)
def _ready() -> None:
    """What processes are forked from is there before the first look at what is there."""
    ready()


@pytest.fixture
def volume(site: Site) -> str:
    """A volume with a few files on it, and a backup of them."""
    found = site.cloud.create(name="volume")
    site.cloud.fill(found, "ext4", fill)
    assert run(site, "backup", found).result == "complete"
    return found


def fill(root: Path) -> None:
    for number in range(20):
        (root / f"{number:02}").write_text(f"{number}\n" * 100)


def content(site: Site, volume: str) -> tree.Tree:
    return site.cloud.on(volume, tree.describe, read_only=True)


def backups(site: Site) -> list[str]:
    return sorted(entry.name for entry in (site.repository / "snapshots").iterdir())


# Resume


@pytest.mark.parametrize("verb", VERBS)
def test_after_a_reboot_what_belongs_to_the_boot_is_done_again(
    site: Site, volume: str, verb: str
) -> None:
    before, stored = content(site, volume), backups(site)
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
    assert content(site, volume) == before
    assert len(backups(site)) == len(stored) + (verb == "backup")


def reboot(site: Site) -> None:
    """What a reboot does: the devices are gone, and the boot's id is another one."""
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


def test_on_another_host_the_dead_one_loses_its_attachment(site: Site, volume: str) -> None:
    left = killed(site, "backup", volume, step="copy")
    dead = {a.id for a in site.cloud.client.attachments.list()}
    elsewhere = site.home / "copy of the state"
    shutil.copytree(site.state, elsewhere)
    config = site.config(DEFAULT__state_dir=elsewhere)
    there = ("unshare", "--uts", "sh", "-c", 'hostname other-host && exec "$@"', "sh")

    # It could still be alive: only its lease tells.
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
    assert len(backups(site)) == 2
    # From here on the copy is the state.
    shutil.rmtree(site.state)
    elsewhere.rename(site.state)


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
    assert len(backups(site)) == 2


def test_resume_all_leaves_those_alone_that_are_driven(site: Site, volume: str) -> None:
    others = site.cloud.clones(volume, ["second", "third", "fourth", "fifth"])
    dead = [
        killed(site, "backup", others[0], step="temporary volume", when="after"),
        killed(site, "backup", others[1], step="copy", when="after"),
    ]
    # Its repository is not there any more; that is no other run's concern.
    lost = killed(site, "backup", others[2], step="probe")
    query(
        site, "UPDATE run SET request = replace(request, '/repository', '/gone') WHERE id = ?", lost
    )
    # Of a release that knew another request, say.
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
    before = content(site, volume)
    left = killed(site, verb, volume, step="copy")
    listed = site.cli("run", "list", "-f", "json", "-c", "ID", "-c", "State")
    assert {"ID": left, "State": "interrupted"} in json.loads(listed.stdout)
    shown = json.loads(site.cli("run", "show", left, "-f", "json").stdout)
    assert shown["state"] == "interrupted"
    assert f"({volume}): interrupted, at 'copy'" in shown["volumes"][0]
    done = site.cli("run", "abort", left)
    assert done.returncode == 0, done.stderr
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert content(site, volume) == before
    again = site.cli("run", "abort", left)
    assert again.returncode == 2
    assert "has ended already: it is aborted" in again.stderr


def test_a_killed_restore_is_undone_without_a_repository(site: Site, volume: str) -> None:
    site.cloud.on(volume, lambda root: (root / "newer").write_text("than the backup"))
    before = content(site, volume)
    left = killed(site, "restore", volume, step="copy", when="after")
    away = site.repository.rename(site.home / "away")
    done = site.cli("run", "abort", left)
    away.rename(site.repository)
    assert done.returncode == 0, done.stderr
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert query(site, "SELECT tag FROM ledger WHERE state != 'GONE'") == []
    assert content(site, volume) == before


@pytest.mark.parametrize("parallel", [1, 2], ids=["not begun", "begun"])
def test_a_restore_whose_backup_is_gone_fails_that_volume_alone(
    site: Site, volume: str, parallel: int
) -> None:
    other = site.cloud.clones(volume, ["other"])[0]
    backup = site.backup(other).volumes[0].backup_id
    for each in (volume, other):
        site.cloud.on(each, lambda root: (root / "newer").write_text("than the backup"))
    before = content(site, other)
    left = killed(site, "restore", volume, other, step="copy", backup__parallel=parallel)
    site.restic("forget", backup)
    answer = run(site, "resume", left)
    assert answer.error is None
    told = {one["volume_id"]: one for one in answer.volumes}
    assert told[volume]["outcome"] == "complete"
    assert told[other]["outcome"] == "failed"
    assert "holds no such backup" in told[other]["error"]
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("FAILED",)]
    assert b"newer" not in content(site, volume)
    assert content(site, other) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_that_is_driven_is_aborted_by_asking(site: Site, volume: str, verb: str) -> None:
    before = content(site, volume)
    with held(site, verb, volume, step="copy") as process:
        left = open_runs(site)[0]
        done = site.cli("run", "abort", left[:8])
        assert done.returncode == 0, done.stderr
        assert "was asked to undo it" in done.stderr
        # It looks every few seconds whether it is to stop.
        time.sleep(4)
        process.go_on()
        answer = process.end()
    assert answer.result == "failed", answer
    assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("ABORTED",)]
    assert content(site, volume) == before


# Signals, and being told to stop


@pytest.fixture
def slow(site: Site) -> Iterator[RestServer]:
    """A repository that takes nothing more once something of the copy is stored."""
    with RestServer(site.home / "slow") as server:
        site.overrides["repository__location"] = server.location
        site.cli("repository", "init")
        yield server
        server.go_on()


@pytest.fixture
def large(site: Site) -> str:
    """A volume with more on it than goes into one pack."""
    found = site.cloud.create(name="large")
    site.cloud.fill(
        found, "ext4", lambda root: (root / "large").write_bytes(os.urandom(48 * tree.MIB))
    )
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_suspends_within_ten_seconds(
    site: Site, slow: RestServer, large: str, number: signal.Signals
) -> None:
    slow.hold("POST", 2)
    with started(site, "backup", "create", large) as process:
        slow.wait()
        began = time.monotonic()
        process.send_signal(number)
        process.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert process.returncode == 1
    assert restics(site) == []
    (left,) = open_runs(site)
    assert query(site, "SELECT state FROM run") == [("SUSPENDED",)]
    slow.go_on()
    done = site.cli("run", "resume", left, "-f", "json")
    assert done.returncode == 0, done.stderr
    assert len(list((slow.directory / "snapshots").iterdir())) == 1


def test_a_second_signal_undoes_the_run(site: Site, slow: RestServer, large: str) -> None:
    slow.hold("POST", 2)
    with started(site, "backup", "create", large) as process:
        slow.wait()
        # Both are there when it goes on; two of a kind would be taken for one.
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        # Before that the copy could come to its end.
        until(lambda: "again: undoing" in said(site).read_text())
        slow.go_on()
        process.wait(60)
    assert process.returncode == 1
    assert query(site, "SELECT state FROM run") == [("ABORTED",)]
    assert not (slow.directory / "snapshots").exists() or not list(
        (slow.directory / "snapshots").iterdir()
    )


def test_a_restore_in_place_is_suspended_and_goes_on(
    site: Site, slow: RestServer, large: str
) -> None:
    before = content(site, large)
    assert run(site, "backup", large).result == "complete"
    slow.hold("GET", 2)
    with started(site, "restore", "create", large, "--yes") as process:
        slow.wait()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert restics(site) == []
    slow.go_on()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"
    assert content(site, large) == before


def test_several_volumes_are_suspended_at_once(site: Site, slow: RestServer, large: str) -> None:
    volumes = [large, *site.cloud.clones(large, ["second"])]
    slow.hold("POST", 3)
    with started(site, "backup", "create", *volumes, "--parallel", "2") as process:
        slow.wait()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert restics(site) == []
    assert query(site, "SELECT state FROM run") == [("SUSPENDED",)]
    assert "does not end in time" not in said(site).read_text()
    slow.go_on()
    (left,) = open_runs(site)
    answer = run(site, "resume", left)
    assert answer.result == "complete"
    assert len(answer.volumes) == 2
    assert len(list((slow.directory / "snapshots").iterdir())) == 2


class Caller(threading.Thread):
    """A program that uses volflow in a thread that is not its main one, as Freezer does."""

    def __init__(self, site: Site, volume: str, verb: str = "backup", **options: Any) -> None:
        super().__init__(daemon=True)
        self.site, self.volume, self.verb, self.options = site, volume, verb, options
        self.volflow: Any = None
        self.result: Any = None

    def run(self) -> None:
        with self.site.volflow() as self.volflow:
            try:
                if self.verb == "backup":
                    self.result = self.volflow.backups.create([self.volume])
                else:
                    options = RestoreOptions(**self.options)
                    plan = self.volflow.restores.plan([self.volume], options)
                    self.result = self.volflow.restores.run(plan)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.result = error

    def suspended(self) -> None:
        """Suspend it, without a command line that would end the process in the end."""
        self.volflow.stop.suspend()
        self.join(PATIENCE)
        assert not self.is_alive()
        assert "is suspended" in str(self.result)


def test_a_run_in_another_thread_is_suspended(site: Site, slow: RestServer, large: str) -> None:
    slow.hold("POST", 2)
    caller = Caller(site, large)
    caller.start()
    slow.wait()
    caller.volflow.stop.suspend()
    caller.join(PATIENCE)
    assert not caller.is_alive()
    assert "is suspended" in str(caller.result)
    assert restics(site) == []
    slow.go_on()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"


def test_a_run_in_another_thread_is_aborted(site: Site, slow: RestServer, large: str) -> None:
    slow.hold("POST", 2)
    caller = Caller(site, large)
    caller.start()
    slow.wait()
    caller.volflow.stop.abort()
    slow.go_on()
    caller.join(60)
    assert str(caller.result.outcome) == "failed"
    assert query(site, "SELECT state FROM run") == [("ABORTED",)]


@pytest.mark.parametrize("called", [False, True], ids=["before", "after"])
def test_an_abort_undoes_also_what_is_called_suspended(
    site: Site, slow: RestServer, large: str, monkeypatch: pytest.MonkeyPatch, called: bool
) -> None:
    slow.hold("POST", 2)
    caller = Caller(site, large)
    caller.start()
    slow.wait()
    finish = Runner._finish

    def aborted(runner: Runner, of: Run) -> RunResult:
        """An abort comes right before or right after the run is called suspended."""
        slow.go_on()
        if not called:
            caller.volflow.stop.abort()
        try:
            return finish(runner, of)
        finally:
            caller.volflow.stop.abort()

    monkeypatch.setattr(Runner, "_finish", aborted)
    caller.volflow.stop.suspend()
    caller.join(60)
    assert str(caller.result.outcome) == "failed"
    assert query(site, "SELECT state FROM run") == [("ABORTED",)]
    assert query(site, "SELECT tag FROM ledger WHERE state != 'GONE'") == []


@dataclass
class Slow:
    """A Cinder that takes its time over one kind of thing.

    :ivar asked: set when somebody waits for it
    :ivar done: to be set when it is to have done it
    """

    asked: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def show(self, status: str, thing_id: str) -> dict[str, Any]:
        self.asked.set()
        return {"id": thing_id, "size": 1, "status": status}


@pytest.fixture
def slow_snapshots(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """No snapshot becomes available."""
    found, real = Slow(), Snapshots.get

    def snapshot(snapshots: Snapshots, snapshot_id: str) -> dict[str, Any]:
        told = real(snapshots, snapshot_id)
        return told if found.done.is_set() else told | found.show("creating", snapshot_id)

    monkeypatch.setattr(Snapshots, "get", snapshot)
    return found


@pytest.fixture
def slow_deletes(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """No volume is ever gone."""
    found, real = Slow(), Volumes.get

    def volume(volumes: Volumes, volume_id: str) -> dict[str, Any]:
        try:
            return real(volumes, volume_id)
        except ResourceNotFoundError:
            if found.done.is_set():
                raise
            return found.show("deleting", volume_id)

    monkeypatch.setattr(Volumes, "get", volume)
    return found


def test_waiting_for_cinder_is_interrupted(site: Site, volume: str, slow_snapshots: Slow) -> None:
    caller = Caller(site, volume)
    caller.start()
    assert slow_snapshots.asked.wait(60)
    caller.suspended()
    slow_snapshots.done.set()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"


def test_what_is_removed_on_the_way_forward_is_not_waited_for(
    site: Site, volume: str, slow_deletes: Slow
) -> None:
    caller = Caller(site, volume)
    caller.start()
    assert slow_deletes.asked.wait(60)
    caller.suspended()
    assert query(site, "SELECT state FROM ledger WHERE kind = 'volume' AND state != 'GONE'")
    slow_deletes.done.set()
    (left,) = open_runs(site)
    answer = run(site, "resume", left)
    assert answer.result == "complete"
    assert answer.volumes[0]["leftovers"] == []
    assert len(backups(site)) == 2


def test_undoing_is_not_interrupted(
    site: Site, slow: RestServer, large: str, slow_deletes: Slow
) -> None:
    slow.hold("POST", 2)
    caller = Caller(site, large)
    caller.start()
    slow.wait()
    caller.volflow.stop.abort()
    assert slow_deletes.asked.wait(60)
    caller.volflow.stop.suspend()
    caller.volflow.stop.abort()
    caller.join(1)
    assert caller.is_alive()
    slow_deletes.done.set()
    slow.go_on()
    caller.join(60)
    assert query(site, "SELECT state FROM run") == [("ABORTED",)]
    assert caller.result.volumes[0].leftovers == ()


def test_making_a_file_system_is_interrupted(
    site: Site, volume: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "began"
    slow_one = tmp_path / "mkfs.ext4"
    slow_one.write_text(f"#!/bin/sh\ntouch {mark}\nsleep 300\n")
    slow_one.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(privilege, "_PATH", f"{tmp_path}:{privilege._PATH}")
        caller = Caller(site, volume, "restore")
        before = content(site, volume)
        caller.start()
        until(mark.exists)
        caller.suspended()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"
    assert content(site, volume) == before


# A run that is taken from a process that was held up

HELD_UP = """
import sys
from volflow.runs import lease as heartbeat
heartbeat._SECONDS, heartbeat.BEAT = 5.0, 0.5
from volflow.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("verb", VERBS)
def test_a_process_whose_run_was_taken_undoes_nothing(
    site: Site, slow: RestServer, large: str, verb: str
) -> None:
    before = content(site, large)
    if verb == "restore":
        assert run(site, "backup", large).result == "complete"
    slow.hold("GET" if verb == "restore" else "POST", 2)
    command = ("restore", "create", "--yes") if verb == "restore" else ("backup", "create")
    with started(site, *command, large, program=("-c", HELD_UP)) as process:
        slow.wait()
        (left,) = open_runs(site)
        process.send_signal(signal.SIGSTOP)
        until(lambda: query(site, "SELECT 1 FROM lease WHERE until < ?", utc()) != [])
        # On another host its copy would lose the device; here the other process needs it free.
        for child in children(process.pid):
            os.kill(child, signal.SIGKILL)
        slow.go_on()
        winner = begin(site, "resume", left, hooks=(hook("unmount", "hold"),))
        winner.wait_for_hook()
        there = things(site)
        process.send_signal(signal.SIGCONT)
        process.wait(60)
        assert things(site) == there
        assert query(site, "SELECT state FROM run WHERE id = ?", left) == [("RUNNING",)]
        winner.go_on()
        assert winner.end().result == "complete"
    assert process.returncode == 1
    last = said(site).read_text().splitlines()[-1]
    assert f"Process {winner.pid} on host" in last
    assert f"has taken run {left}" in last
    assert content(site, large) == before


def utc() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ")


def children(pid: int) -> list[int]:
    found = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for group in found for child in group]


def things(site: Site) -> set[str]:
    """All that there is in the cloud."""
    client = site.cloud.client
    kinds = (client.volumes, client.volume_snapshots, client.attachments)
    return {each.id for kind in kinds for each in kind.list()}


class started:
    """The command line, under way for as long as the block runs at most.

    :param program: what Python is to run
    """

    def __init__(
        self, site: Site, *arguments: str, program: tuple[str, str] = ("-m", "volflow.cli.main")
    ) -> None:
        with open(said(site), "wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--config-file", str(site.config()), *arguments],
                env=site.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                cwd="/",
            )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def said(site: Site) -> Path:
    """What the command line said on its standard error."""
    return site.home / "said"


def restics(site: Site) -> list[str]:
    """The processes of restic that work for this site."""
    found = subprocess.run(["pgrep", "-af", f"restic.*{site.home}"], capture_output=True, text=True)
    return found.stdout.splitlines()


# Leftovers


def test_what_cannot_be_removed_is_named_and_can_be_removed_later(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="unmount") as process:
        (clone,) = [v.id for v in site.cloud.client.volumes.list() if v.id != volume]
        # Somebody has found the temporary volume, and made a snapshot of it.
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
    # Some storage deletes a snapshot before the volume that was made from it.
    assert "volume" in {row["Kind"] for row in rows} <= {"volume", "snapshot"}

    hindered = site.cli("leftover", "clean")
    assert hindered.returncode == 1
    assert "still there" in hindered.stdout
    site.cloud.delete_snapshot(hindrance.id)
    cleaned = site.cli("leftover", "clean")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert json.loads(site.cli("leftover", "list", "-f", "json").stdout) == []


def test_what_a_run_left_whose_database_is_gone(site: Site, volume: str) -> None:
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

        # It may be alive, as far as anybody can tell.
        spared = site.cli("leftover", "clean", "--lost")
        assert spared.returncode == 1
        assert "sign of life" in spared.stdout
        assert {v.id for v in site.cloud.client.volumes.list()} - mine == made

        cleaned = site.cli("leftover", "clean", "--lost", "--older-than", "0")
        assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
        left = {v.id for v in site.cloud.client.volumes.list()} - mine
        # What the living run has made is there, and it goes on.
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
