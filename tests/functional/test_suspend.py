"""Signals to the command line suspend or undo its run."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import UTC, datetime

import pytest

from tests.support.command_line import CommandLine, children, restics, said
from tests.support.controlled_runs import (
    begin,
    hook,
    open_runs,
    query,
    run,
)
from tests.support.rest_server import RestServer
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

# Seconds within which a signal suspends a run, as the documentation promises.
PROMISED = 10.0
PATIENCE = 60.0
VERBS = ("backup", "restore")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_suspends_within_ten_seconds(
    site: Site, slow: RestServer, large: str, number: signal.Signals
) -> None:
    slow.hold("POST", 2)
    with CommandLine(site, "backup", "create", large) as process:
        slow.wait()
        began = time.monotonic()
        process.send_signal(number)
        process.wait(PATIENCE)
    assert time.monotonic() - began < PROMISED
    assert process.returncode == 1
    assert restics(site) == []
    (left,) = open_runs(site)
    held = number == signal.SIGINT
    assert query(site, "SELECT state, held_at IS NOT NULL FROM run") == [("SUSPENDED", held)]
    slow.go_on()
    # What a person has stopped is not continued by the timer.
    timer = site.cli("run", "resume", "--all", "-f", "json")
    assert timer.returncode == 0, timer.stderr
    assert open_runs(site) == ([left] if held else [])
    if held:
        assert f"Run {left} is left alone: a person stopped it" in timer.stderr
        (listed,) = json.loads(site.cli("run", "list", "-f", "json").stdout)
        assert listed["State"] == "held"
        holds = {"volumes": 1, "snapshots": 1, "attachments": 1, "gib": 2 * size(site, large)}
        assert listed["Holds"].items() >= holds.items()
        assert datetime.fromisoformat(listed["Holds"]["since"]) <= datetime.now(UTC)
        assert "held" in site.cli("run", "show", left).stdout
        done = site.cli("run", "resume", left, "-f", "json")
        assert query(site, "SELECT held_at FROM run") == [(None,)]
    else:
        done = timer
    assert done.returncode == 0, done.stderr
    # The data, and the verdict on it.
    assert len(list((slow.directory / "snapshots").iterdir())) == 2


def size(site: Site, volume: str) -> int:
    """The size of a volume in GiB."""
    return int(site.cloud.show(volume)["size"])


def test_a_second_signal_undoes_the_run(site: Site, slow: RestServer, large: str) -> None:
    slow.hold("POST", 2)
    with CommandLine(site, "backup", "create", large) as process:
        slow.wait()
        # Both signals are pending when the process continues; two equal signals would count as one.
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            process.send_signal(number)
        # Otherwise the copy could end first.
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
    before = site.content(large)
    assert run(site, "backup", large).result == "complete"
    slow.hold("GET", 2)
    with CommandLine(site, "restore", "create", large, "--yes") as process:
        slow.wait()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert restics(site) == []
    slow.go_on()
    (left,) = open_runs(site)
    assert run(site, "resume", left).result == "complete"
    assert site.content(large) == before


def test_several_volumes_are_suspended_at_once(site: Site, slow: RestServer, large: str) -> None:
    volumes = [large, *site.cloud.clones(large, ["second"])]
    slow.hold("POST", 3)
    with CommandLine(site, "backup", "create", *volumes, "--parallel", "2") as process:
        slow.wait()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    assert time.monotonic() - began < PROMISED
    assert restics(site) == []
    assert query(site, "SELECT state FROM run") == [("SUSPENDED",)]
    assert "does not end in time" not in said(site).read_text()
    slow.go_on()
    (left,) = open_runs(site)
    answer = run(site, "resume", left)
    assert answer.result == "complete"
    assert len(answer.volumes) == 2
    assert len(list((slow.directory / "snapshots").iterdir())) == 4


# Another process takes the run of a process that was stopped

HELD_UP = """
import sys
from volflow.runs import lease
lease._SECONDS, lease.BEAT = 5.0, 0.5
from volflow.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("verb", VERBS)
def test_a_process_whose_run_was_taken_undoes_nothing(
    site: Site, slow: RestServer, large: str, verb: str
) -> None:
    before = site.content(large)
    if verb == "restore":
        assert run(site, "backup", large).result == "complete"
    slow.hold("GET" if verb == "restore" else "POST", 2)
    command = ("restore", "create", "--yes") if verb == "restore" else ("backup", "create")
    with CommandLine(site, *command, large, program=("-c", HELD_UP)) as process:
        slow.wait()
        (left,) = open_runs(site)
        process.send_signal(signal.SIGSTOP)
        until(lambda: query(site, "SELECT 1 FROM lease WHERE until < ?", utc()) != [])
        # On another host the copy would lose the device; on this host the copy must end to free it.
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
    assert site.content(large) == before


def utc() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(" ")


def things(site: Site) -> set[str]:
    """The ids of all resources in the cloud."""
    client = site.cloud.client
    kinds = (client.volumes, client.volume_snapshots, client.attachments)
    return {each.id for kind in kinds for each in kind.list()}
