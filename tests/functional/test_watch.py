"""Watching a run from another process, and the leftovers that the watcher shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import faults, prometheus
from tests.support.controlled_runs import held, killed, open_runs
from tests.support.site import Site
from tests.support.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]

# The mark of a step on which no process works.
INTERRUPTED = "\u2016"


@pytest.fixture
def volume(site: Site) -> str:
    volume = site.cloud.create(name="watched")
    site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    return volume


@dataclass
class Watcher:
    """``volflow run watch`` in a separate process."""

    process: subprocess.Popen[str]
    said: Path

    def sees(self, text: str) -> None:
        """Wait until it has printed this text."""
        until(lambda: text in self.said.read_text() or self.process.poll() is not None)
        assert text in self.said.read_text(), self.said.read_text()

    def end(self) -> tuple[int, str]:
        """Its exit status, and its standard output."""
        out, _ = self.process.communicate(timeout=60)
        return self.process.returncode, out


@contextmanager
def watching(site: Site, run_id: str) -> Iterator[Watcher]:
    said = site.home / "said"
    with said.open("w") as errors:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "volflow.cli.main"),
                *("--config-file", str(site.config()), "run", "watch", run_id[:8]),
            ],
            env=site.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            cwd="/",
        )
        try:
            yield Watcher(process, said)
        finally:
            process.kill()
            process.wait()


def test_a_run_is_watched_to_its_end(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="copy") as process:
        (run_id,) = open_runs(site)
        with watching(site, run_id) as watcher:
            watcher.sees("watched: copy")
            process.go_on()
            status, out = watcher.end()
    assert status == 0
    assert "complete" in out
    told = [line[9:] for line in watcher.said.read_text().splitlines()]
    assert told[0] == f"run {run_id}: 1 volume"
    # All steps from the running step on, each once, in order.
    steps = faults.steps("backup")
    expected = [f"watched: {step}" for step in steps[steps.index("copy") :]]
    assert told[1:] == [*expected, "watched: complete"]


def test_the_watcher_notices_that_the_process_was_killed(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="copy") as process:
        (run_id,) = open_runs(site)
        with watching(site, run_id) as watcher:
            watcher.sees("watched: copy")
            os.kill(process.pid, signal.SIGKILL)
            began = time.monotonic()
            status, _ = watcher.end()
    assert status == 1
    assert time.monotonic() - began < 30
    assert f"'volflow run resume {run_id[:8]}' continues it" in watcher.said.read_text()
    for arguments in (("graph", run_id), ("show", run_id, "--html", "-")):
        assert INTERRUPTED in site.cli("run", *arguments).stdout
    done = site.cli("--quiet", "run", "resume", run_id)
    assert done.returncode == 0, done
    assert site.cli("run", "watch", run_id).returncode == 0
    assert INTERRUPTED not in site.cli("run", "graph", run_id).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_goes_on_when_its_watcher_ends(
    number: signal.Signals, site: Site, volume: str
) -> None:
    """The end of the watcher does not affect the run."""
    with held(site, "backup", volume, step="copy") as process:
        (run_id,) = open_runs(site)
        with watching(site, run_id) as watcher:
            watcher.sees("watched: copy")
            watcher.process.send_signal(number)
            status, _ = watcher.end()
        assert status == 1
        assert f"Run {run_id} continues" in watcher.said.read_text()
        process.go_on()
        assert process.end().result == "complete"


def test_a_run_that_nobody_drives_is_not_waited_for(site: Site, volume: str) -> None:
    run_id = killed(site, "backup", volume, step="copy")
    done = site.cli("run", "watch", run_id)
    assert done.returncode == 1
    assert f"No process drives run {run_id}" in done.stderr
    assert site.cli("--quiet", "run", "abort", run_id).returncode == 0


def test_an_unknown_run_is_reported(site: Site) -> None:
    for command in ("watch", "show", "graph"):
        done = site.cli("run", command, "0123abcd")
        assert done.returncode == 1
        assert "0123abcd" in done.stderr


def test_the_watcher_shows_leftovers(site: Site, volume: str) -> None:
    """Somebody makes a snapshot of the temporary volume, so volflow cannot delete the volume."""
    textfile = site.home / "volflow.prom"
    site.overrides["metrics__textfile"] = textfile
    with held(site, "backup", volume, step="remove temporary volume") as process:
        (run_id,) = open_runs(site)
        (clone,) = [
            each.id
            for each in site.cloud.client.volumes.list()
            if each.id not in site.cloud.known.volumes
        ]
        snapshot = site.cloud.create_snapshot(clone)
        process.go_on()
        answer = process.end()
    # The backup exists.
    assert answer.result == "complete", answer
    (result,) = answer.volumes
    assert any(clone in leftover for leftover in result["leftovers"])
    found = prometheus.values(textfile)
    assert found("volume_leftovers", volume_id=volume) == len(result["leftovers"])
    done = site.cli("run", "watch", run_id)
    assert done.returncode == 0
    assert f"watched: left over: {result['leftovers'][0]}" in done.stderr
    assert (
        "'volflow leftover clean' removes the leftovers, or says what to decide first."
        in done.stderr
    )
    shown = site.cli("run", "show", run_id, "--html", "-").stdout
    assert "left over: " in shown
    site.cloud.delete_snapshot(snapshot)
    assert site.cli("leftover", "clean").returncode == 0
