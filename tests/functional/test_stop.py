"""A program that runs volflow in a separate thread suspends and aborts its run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from persistence import Run
from tests.support.command_line import restics
from tests.support.controlled_runs import (
    open_runs,
    query,
    run,
)
from tests.support.library_caller import Caller
from tests.support.rest_server import RestServer
from tests.support.site import Site
from tests.support.waiting import until
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volumes import Volumes
from volflow.errors import ResourceNotFoundError
from volflow.host import privilege
from volflow.host.privilege import find_program
from volflow.results.outcome import RunResult
from volflow.runs.lease import RunLease
from volflow.runs.runner import Runner

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

PATIENCE = 60.0


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

    def aborted(runner: Runner, of: Run, held: RunLease) -> RunResult:
        """The program aborts the run just before or just after the run is recorded as suspended."""
        slow.go_on()
        if not called:
            caller.volflow.stop.abort()
        try:
            return finish(runner, of, held)
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
    """A Cinder that is slow with one kind of resource.

    :ivar asked: set when volflow waits for the resource
    :ivar done: a test sets it to let Cinder finish
    """

    asked: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def show(self, status: str, thing_id: str) -> dict[str, Any]:
        self.asked.set()
        return {"id": thing_id, "size": 1, "status": status}


@pytest.fixture
def slow_snapshots(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """No snapshot becomes available until a test allows it."""
    found, real = Slow(), Snapshots.get

    def snapshot(snapshots: Snapshots, snapshot_id: str) -> dict[str, Any]:
        told = real(snapshots, snapshot_id)
        return told if found.done.is_set() else told | found.show("creating", snapshot_id)

    monkeypatch.setattr(Snapshots, "get", snapshot)
    return found


@pytest.fixture
def slow_deletes(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """No volume deletion ends until a test allows it."""
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
    assert len(site.stored()) == 2


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
    real = find_program("mkfs.ext4")
    # What is only tried beforehand is quick.
    slow_one.write_text(
        f'#!/bin/sh\ncase "$*" in */rehearsal*) exec {real} "$@";; esac\ntouch {mark}\nsleep 300\n'
    )
    slow_one.chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setattr(privilege, "_PATH", f"{tmp_path}:{privilege._PATH}")
        caller = Caller(site, volume, "restore")
        before = site.content(volume)
        caller.start()
        until(mark.exists)
        caller.suspended()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"
    assert site.content(volume) == before
