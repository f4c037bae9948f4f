"""Hooks: what the operator's command receives, and that a failing hook does not harm a run."""

from __future__ import annotations

import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persistence import ItemState, Run, RunState, SchemaOutOfDate, State, StateError
from tests.support.waiting import LIMIT, until
from volflow import config
from volflow.errors import CloudError, ConfigError, VolflowError
from volflow.observers.hooks import Hooks, refusals
from volflow.results.outcome import Outcome, RunResult, VolumeResult

HOSTILE = "$(touch /pwned) `id` ; \x1b[31m\n\x00VOLFLOW_OUTCOME=complete é"


class Notes:
    """A hook that records what it receives."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.program = directory / "hook"
        self.write(
            'told=$(mktemp -d "$(dirname "$0")/told-XXXXXX")',
            'env -0 > "$told/environment"',
            'cat > "$told/input"',
            'printf "%s" "$*" > "$told/arguments"',
        )

    def write(self, *lines: str) -> None:
        self.program.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
        self.program.chmod(stat.S_IRWXU)

    def told(self) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """The variables and the JSON of each call, in order."""
        found = []
        for place in sorted(self._directory.glob("told-*"), key=lambda p: p.stat().st_mtime_ns):
            pairs = (place / "environment").read_text().split("\0")
            variables = dict(pair.split("=", 1) for pair in pairs if pair.startswith("VOLFLOW_"))
            found.append((variables, json.loads((place / "input").read_text())))
        return found


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


@pytest.fixture
def run(state: State) -> Run:
    items = [("v1", "one"), ("v2", HOSTILE.replace("\x00", ""))]
    return state.runs.create("backup", {}, items, host="h", boot_id="b", pid=1)


def options(tmp_path: Path, **values: Any) -> Any:
    file = tmp_path / "volflow.conf"
    lines = [f"{name} = {value}" for name, value in values.items()]
    file.write_text("[hooks]\n" + "\n".join(lines) + "\n")
    return config.load([str(file)]).hooks


def whole_run(hooks: Hooks, state: State, run: Run) -> None:
    """One of two volumes is backed up, and the other fails."""
    hooks.planned(run.id, {"v1": "one", "v2": HOSTILE})
    for key in ("v1", "v2"):
        hooks.step(key, "snapshot", "RUNNING")
        hooks.step(key, "snapshot", "SUCCESS")
    done = VolumeResult("v1", "one", Outcome.COMPLETE, backup_id="b1")
    failed = VolumeResult("v2", HOSTILE, Outcome.FAILED, error="Cinder said no.")
    for result in (done, failed):
        kept = result.to_dict() | {"name": ""}
        state.runs.update_item(
            run.id, result.volume_id, state=ItemState[result.outcome.name], result=kept
        )
        hooks.ended(result)
    state.runs.update(run.id, state=RunState.FAILED)
    hooks.over(run.id, RunResult(run.id, "backup", (done, failed)))


def test_what_is_told_of_a_run(notes: Notes, state: State, run: Run, tmp_path: Path) -> None:
    whole_run(Hooks(options(tmp_path, command=notes.program), state.runs), state, run)
    told = notes.told()
    assert [variables["VOLFLOW_EVENT"] for variables, _ in told] == [
        "run.start",
        "volume.start",
        "volume.start",
        "volume.end",
        "volume.failure",
        "run.failure",
    ]
    for variables, given in told:
        assert variables["VOLFLOW_RUN"] == given["run_id"] == run.id
        assert variables["VOLFLOW_KIND"] == given["kind"] == "backup"
        assert given["event"] == variables["VOLFLOW_EVENT"]
        assert given["host"]
    assert told[0][1]["volumes"] == {"v1": "one", "v2": HOSTILE}
    assert [variables["VOLFLOW_OUTCOME"] for variables, _ in told[3:]] == [
        "complete",
        "failed",
        "failed",
    ]
    assert told[3][1]["result"]["backup_id"] == "b1"
    assert told[4][1]["result"]["error"] == "Cinder said no."
    assert [one["outcome"] for one in told[5][1]["result"]["volumes"]] == ["complete", "failed"]


def test_names_are_harmless(notes: Notes, state: State, run: Run, tmp_path: Path) -> None:
    whole_run(Hooks(options(tmp_path, command=notes.program), state.runs), state, run)
    variables, given = notes.told()[4]
    assert variables["VOLFLOW_VOLUME_NAME"] == (
        r"$(touch /pwned) `id` ; \x1b[31m\n\x00VOLFLOW_OUTCOME=complete é"
    )
    assert variables["VOLFLOW_OUTCOME"] == "failed"
    # The JSON has the name unchanged.
    assert given["volume_name"] == HOSTILE
    assert not Path("/pwned").exists()


def test_arguments_are_those_of_the_configuration(
    notes: Notes, state: State, run: Run, tmp_path: Path
) -> None:
    # oslo.config interprets a dollar sign, so it is doubled.
    command = f"{notes.program} 'two words' $$HOME ;"
    hooks = Hooks(options(tmp_path, command=command, events="run.start"), state.runs)
    hooks.planned(run.id, {"v1": "one"})
    (arguments,) = tmp_path.glob("told-*/arguments")
    assert arguments.read_text() == "two words $HOME ;"


def test_only_what_is_asked_for(notes: Notes, state: State, run: Run, tmp_path: Path) -> None:
    asked = options(tmp_path, command=notes.program, events="run.failure,volume.failure")
    whole_run(Hooks(asked, state.runs), state, run)
    events = [variables["VOLFLOW_EVENT"] for variables, _ in notes.told()]
    assert events == ["volume.failure", "run.failure"]


def test_a_run_that_goes_on_and_one_that_is_suspended(
    notes: Notes, state: State, run: Run, tmp_path: Path
) -> None:
    state.runs.update_item(run.id, "v1", state=ItemState.RUNNING)
    hooks = Hooks(options(tmp_path, command=notes.program), state.runs)
    hooks.planned(run.id, {"v1": "one"})
    hooks.over(run.id, None)
    events = [variables["VOLFLOW_EVENT"] for variables, _ in notes.told()]
    assert events == ["run.resume", "run.suspend"]


@pytest.mark.parametrize("kind", ["backup", "restore"])
@pytest.mark.parametrize(
    "error", [CloudError("Keystone is away."), SchemaOutOfDate("/s", None, "1")], ids=type
)
def test_a_run_that_is_refused(
    notes: Notes, tmp_path: Path, kind: str, error: VolflowError | StateError
) -> None:
    asked = options(tmp_path, command=notes.program)
    with pytest.raises(type(error)), refusals(asked, kind):
        raise error
    ((variables, given),) = notes.told()
    assert variables["VOLFLOW_EVENT"] == "run.failure"
    assert variables["VOLFLOW_KIND"] == given["kind"] == kind
    assert variables["VOLFLOW_OUTCOME"] == given["outcome"] == "failed"
    assert variables["VOLFLOW_RUN"] == given["run_id"] == ""
    assert given["error"] == str(error)


def test_nobody_asks_of_a_refusal(notes: Notes, tmp_path: Path) -> None:
    for asked in (options(tmp_path), options(tmp_path, command=notes.program, events="run.end")):
        with pytest.raises(CloudError), refusals(asked, "backup"):
            raise CloudError("Keystone is away.")
    assert notes.told() == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (["echo out of order", "exit 7"], "failed with status 7: out of order"),
        (["exit 7"], "failed with status 7: it said nothing"),
        (["kill -9 $$"], "failed with status -9"),
        (["head -c 100000 /dev/zero | tr '\\0' x; echo the end; exit 1"], "xxxthe end"),
    ],
)
def test_a_hook_that_fails_is_told(
    script: list[str],
    told: str,
    notes: Notes,
    state: State,
    run: Run,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes.write(*script)
    hooks = Hooks(options(tmp_path, command=notes.program, events="run.start"), state.runs)
    hooks.planned(run.id, {"v1": "one"})
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "The hook for run.start" in record.getMessage()
    assert told in record.getMessage()
    assert len(record.getMessage()) < 2200


def test_a_hook_that_is_not_there(
    state: State, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks(options(tmp_path, command="/nowhere/hook", events="run.start"), state.runs)
    hooks.planned(run.id, {"v1": "one"})
    assert "could not be started" in caplog.text
    assert "/nowhere/hook" in caplog.text


def test_a_hook_that_takes_too_long_is_ended_with_its_children(
    notes: Notes, state: State, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pid = tmp_path / "pid"
    notes.write("sleep 1000 &", f"echo $! > {pid}", "echo waiting", "wait")
    asked = options(tmp_path, command=notes.program, events="run.start", time_limit=5)
    began = time.monotonic()
    Hooks(asked, state.runs).planned(run.id, {"v1": "one"})
    assert time.monotonic() - began < LIMIT
    assert "was killed after 5 seconds: waiting" in caplog.text
    until(lambda: not _is_alive(int(pid.read_text())))


def test_what_a_hook_leaves_running_is_not_waited_for(
    notes: Notes, state: State, run: Run, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    notes.write("sleep 1000 &", f"echo $! > {pid}")
    asked = options(tmp_path, command=notes.program, events="run.start")
    began = time.monotonic()
    try:
        Hooks(asked, state.runs).planned(run.id, {"v1": "one"})
        assert time.monotonic() - began < LIMIT
    finally:
        os.kill(int(pid.read_text()), 9)


@pytest.mark.parametrize("command", ["'no end", '"', "'' x\\"])
def test_a_command_that_makes_no_sense(command: str, tmp_path: Path) -> None:
    """The error is reported before a run begins, not during the run."""
    with pytest.raises(ConfigError, match="command"):
        options(tmp_path, command=command)


def test_an_event_that_there_is_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="events"):
        options(tmp_path, command="true", events="run.begin")


def _is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
