"""A freeze as volflow sees it: also when volflow, or the process that thaws, is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.guest import Guest
from tests.support.waiting import LIMIT, until
from volflow import config
from volflow.errors import ConfigError, HostError, StoppedError
from volflow.host.freeze import Freeze, Quiesce
from volflow.host.program import heed_stop

# A volflow that freezes, and then waits for something.
FREEZES = """
import sys, threading, time
from volflow.host.freeze import Freeze, Quiesce
freeze = Freeze(Quiesce([sys.argv[1]], [sys.argv[2]], 1e6, 1e6), {}, threading.Event())
print(freeze.begin(), flush=True)
time.sleep(1e6)
"""


@pytest.fixture(autouse=True)
def heeding() -> Iterator[None]:
    heed_stop(True)
    yield
    heed_stop(True)


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def freeze_of(guest: Guest, stopping: threading.Event | None = None, **more: float) -> Freeze:
    limits = {"limit": LIMIT, "command_limit": LIMIT, **more}
    return Freeze(
        Quiesce([guest.pre], [guest.post], **limits),  # type: ignore[arg-type]
        {"VOLFLOW_SERVERS": "one,two"},
        stopping or threading.Event(),
    )


def test_a_guest_is_thawed_when_this_is_asked_for(guest: Guest) -> None:
    freeze = freeze_of(guest)
    assert freeze.begin() == ""
    assert guest.events() == ["pre"]
    thawed = freeze.end()
    assert (thawed.in_time, thawed.trouble) == (True, "")
    assert guest.events() == ["pre", "post"]


def test_both_commands_find_their_variables(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not the mark by which a killed volflow ends its programs."""
    monkeypatch.setenv("VOLFLOW_BOND", "a token")
    freeze = freeze_of(guest)
    freeze.begin()
    freeze.end()
    for stage in ("pre", "post"):
        assert guest.told(stage) == {"VOLFLOW_QUIESCE": stage, "VOLFLOW_SERVERS": "one,two"}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_volflow_that_is_killed_leaves_no_frozen_guest(guest: Guest, number: int) -> None:
    """Also by a signal to all its group, as a terminal sends it."""
    process = subprocess.Popen(
        [sys.executable, "-c", FREEZES, guest.pre, guest.post],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"\n"
    assert guest.events() == ["pre"]
    os.killpg(process.pid, number)
    process.communicate()
    guest.wait("pre", "post")


def test_a_thaw_at_the_deadline_is_not_in_time(guest: Guest) -> None:
    freeze = freeze_of(guest, limit=0.5)
    assert freeze.begin() == ""
    guest.wait("pre", "post")
    assert not freeze.end().in_time
    assert guest.events() == ["pre", "post"]


def test_a_command_that_fails_is_quoted(guest: Guest) -> None:
    guest.command("pre", "echo the agent is not connected >&2", "exit 7")
    guest.command("post", "echo nor now", "exit 8")
    freeze = freeze_of(guest)
    assert freeze.begin() == (
        "The pre_command of [quiesce] failed with status 7: the agent is not connected"
    )
    trouble = freeze.end().trouble
    assert trouble.startswith("The post_command of [quiesce] failed with status 8: nor now The ")
    assert trouble.endswith("may still be frozen: thaw it by hand.")


def test_a_command_that_hangs_is_ended(guest: Guest) -> None:
    guest.command("pre", "exec sleep 1000")
    freeze = freeze_of(guest, command_limit=0.5)
    assert "pre_command of [quiesce] was ended after 0.5 s" in freeze.begin()
    guest.command("post")
    assert freeze.end().trouble == ""
    assert guest.events() == ["pre", "post"]


def test_a_request_to_stop_ends_the_freeze(guest: Guest) -> None:
    guest.command("pre", "exec sleep 1000")
    stopping = threading.Event()
    freeze = freeze_of(guest, stopping)
    guest.wait("pre")
    stopping.set()
    with pytest.raises(StoppedError):
        freeze.begin()
    assert freeze.end().trouble == ""
    assert guest.events() == ["pre", "post"]


def test_a_guest_is_thawed_although_the_process_for_it_was_killed(guest: Guest) -> None:
    freeze = freeze_of(guest)
    freeze.begin()
    os.kill(freeze._holder.pid, signal.SIGKILL)
    thawed = freeze.end()
    assert (thawed.in_time, thawed.trouble) == (False, "")
    assert guest.events() == ["pre", "post"]


def test_a_freeze_ends_with_the_process_that_would_thaw(guest: Guest) -> None:
    """Otherwise it could take effect after the thaw."""
    guest.command("pre", "echo $$ > $0.pid", "exec sleep 1000")
    freeze = freeze_of(guest)
    guest.wait("pre")
    pid = Path(f"{guest.pre}.pid")
    until(pid.exists)
    os.kill(freeze._holder.pid, signal.SIGKILL)
    assert "has ended" in freeze.begin()
    until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    freeze.end()
    assert guest.events() == ["pre", "post"]


@pytest.mark.parametrize("option", ["pre", "post"])
def test_a_command_that_cannot_be_executed_freezes_nothing(guest: Guest, option: str) -> None:
    Path(getattr(guest, option)).chmod(0o600)
    with pytest.raises(HostError, match=f"The {option}_command of .* is no program that this user"):
        freeze_of(guest)
    assert guest.events() == []


def loaded(tmp_path: Path, *lines: str) -> Quiesce | None:
    file = tmp_path / "volflow.conf"
    file.write_text("\n".join(["[quiesce]", *lines]) + "\n")
    return Quiesce.from_config(config.load([str(file)]))


def test_nothing_is_frozen_unless_it_is_configured(tmp_path: Path) -> None:
    assert loaded(tmp_path) is None


def test_options_say_how_guests_are_frozen(tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        "pre_command = freeze 'one argument'",
        "post_command = thaw",
        "limit = 7",
        "command_limit = 3",
        "on_failure = warning",
    )
    assert found == Quiesce(["freeze", "one argument"], ["thaw"], 7.0, 3.0, required=False)


@pytest.mark.parametrize("line", ["pre_command = freeze", "post_command = thaw"])
def test_one_command_without_the_other_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="need each other: set both"):
        loaded(tmp_path, line)
