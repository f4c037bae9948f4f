"""The process that freezes and thaws: it thaws exactly once, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.guest import Guest
from tests.support.waiting import LIMIT, until
from volflow.host import freezing

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


@pytest.fixture
def start(guest: Guest) -> Iterator[Start]:
    """Starts the program; ends it after the test."""
    started = []

    def begin(**more: Any) -> subprocess.Popen[bytes]:
        settings = {
            "pre": [guest.pre],
            "post": [guest.post],
            "limit": LIMIT,
            "command_limit": LIMIT,
            **more,
        }
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", freezing.__file__, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[bytes], word: bytes = b"") -> list[dict[str, Any]]:
    """Say a last word to the program, and return what it printed."""
    out, _ = process.communicate(word, LIMIT)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def told_after(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """What the program printed of a freeze that ends by itself, and of the thaw."""
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    return [first, *told(process, b"thaw\n")]


def told_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> list[dict[str, Any]]:
    """What the program printed, which ends by itself."""
    until(lambda: ready() and process.poll() is not None)
    return told(process)


def test_it_thaws_when_it_is_asked_to(start: Start, guest: Guest) -> None:
    process = start()
    guest.wait("pre")
    pre, post = told(process, b"thaw\n")
    assert pre["pre"]["status"] == post["post"]["status"] == 0
    assert post["why"] == "asked"
    assert guest.events() == ["pre", "post"]


def test_it_thaws_when_its_parent_is_gone(start: Start, guest: Guest) -> None:
    process = start()
    guest.wait("pre")
    assert told(process)[1]["why"] == "gone"
    assert guest.events() == ["pre", "post"]


def test_it_thaws_at_the_deadline_and_not_again(start: Start, guest: Guest) -> None:
    process = start(limit=1.0)
    guest.wait("pre", "post")
    until(lambda: process.poll() is not None)
    assert told(process, b"thaw\n")[1]["why"] == "deadline"
    assert guest.events() == ["pre", "post"]


def test_a_freeze_that_hangs_ends_before_the_thaw(
    start: Start, guest: Guest, tmp_path: Path
) -> None:
    """With all its children, which could freeze after the thaw."""
    child = tmp_path / "child"
    guest.command(
        "pre", "sh -c 'trap : TERM; while :; do sleep 1; done' &", f"echo $! > {child}", "wait"
    )
    process = start(limit=1.0)
    pre, post = told_when(process, lambda: child.exists())
    assert (pre["pre"]["ended"], pre["pre"]["status"]) == (True, None)
    assert post["why"] == "deadline"
    assert guest.events() == ["pre", "post"]
    until(lambda: not Path(f"/proc/{child.read_text().strip()}").exists())


def test_the_end_of_its_parent_ends_a_freeze_that_hangs(start: Start, guest: Guest) -> None:
    guest.command("pre", "exec sleep 1000")
    process = start()
    guest.wait("pre")
    pre, post = told(process)
    assert pre["pre"]["ended"]
    assert post["why"] == "gone"
    assert guest.events() == ["pre", "post"]


def test_signals_of_a_terminal_or_service_do_not_end_it(start: Start, guest: Guest) -> None:
    process = start()
    assert json.loads(process.stdout.readline())["pre"]["status"] == 0  # type: ignore[union-attr]
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.killpg(process.pid, number)
    assert told(process, b"thaw\n")[0]["why"] == "asked"
    assert guest.events() == ["pre", "post"]


def test_its_commands_do_not_ignore_signals(start: Start, guest: Guest) -> None:
    guest.command("pre", "kill -TERM $$", guest.note("survived"))
    pre, post = told_after(start())
    assert pre["pre"]["status"] == -signal.SIGTERM
    assert guest.events() == ["pre", "post"]
    assert post["why"] == "asked"


def test_a_thaw_that_fails_is_repeated(start: Start, guest: Guest, tmp_path: Path) -> None:
    failed = tmp_path / "failed"
    guest.command("post", f"[ -e {failed} ] || {{ touch {failed}; echo no; exit 3; }}")
    _, post = told_after(start())
    assert post["post"]["status"] == 0
    assert guest.events() == ["pre", "post", "post"]


def test_a_thaw_that_always_fails_is_reported(start: Start, guest: Guest) -> None:
    guest.command("post", "echo the agent does not answer", "exit 3")
    _, post = told_after(start())
    assert (post["post"]["status"], post["post"]["said"]) == (3, "the agent does not answer")
    assert guest.events() == ["pre", *["post"] * freezing.ATTEMPTS]


def test_a_freeze_that_fails_is_thawed_too(start: Start, guest: Guest) -> None:
    guest.command("pre", "exit 4")
    pre, _ = told_after(start())
    assert pre["pre"]["status"] == 4
    assert guest.events() == ["pre", "post"]


def test_a_freeze_that_cannot_begin_needs_no_thaw(start: Start, guest: Guest) -> None:
    process = start(pre=["/nowhere/freeze"])
    (pre,) = told(process, b"thaw\n")
    assert pre["pre"]["started"] is False
    assert guest.events() == []


def test_what_a_command_says_is_cut(start: Start, guest: Guest) -> None:
    guest.command("pre", "head -c 1000000 /dev/zero | tr '\\0' x", "echo the end")
    pre, _ = told_after(start())
    assert len(pre["pre"]["said"]) < 3000
    assert pre["pre"]["said"].endswith("the end")


def test_what_a_command_leaves_in_the_background_delays_nothing(
    start: Start, guest: Guest, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    guest.command("pre", "sleep 1000 &", f"echo $! > {left}")
    pre, post = told_after(start())
    os.kill(int(left.read_text()), signal.SIGKILL)
    assert (pre["pre"]["status"], post["post"]["status"]) == (0, 0)


def test_without_a_freeze_it_only_thaws(start: Start, guest: Guest) -> None:
    (post,) = told(start(pre=[]), b"thaw\n")
    assert post["post"]["status"] == 0
    assert guest.events() == ["post"]
