"""Signals end a command that drives no run at once, with every program that it has started."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import LIMIT, until

COMMANDS = [("backup", "list"), ("doctor",), ("repository", "init"), ("backup", "verify")]
# A command that only asks for agreement.
ASKS = """
import sys
from volflow.cli import backup, main
from volflow.cli.agreement import agree
def ask(self, arguments):
    agree(["All of it will be lost."])
    print("IT WAS DONE")
    return (), ()
backup.BackupList.take_action = ask
sys.exit(main.main(["backup", "list"]))
"""


@pytest.fixture
def silent() -> Iterator[str]:
    """A repository at a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"rest:http://127.0.0.1:{server.getsockname()[1]}/"


def restics(location: str) -> list[int]:
    """The processes of restic that work for a repository."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            program = (entry / "cmdline").read_text().split("\0")[0]
            environment = (entry / "environ").read_text().split("\0")
        except (OSError, UnicodeDecodeError):
            continue
        if program.endswith("restic") and f"RESTIC_REPOSITORY={location}" in environment:
            found.append(int(entry.name))
    return found


@contextmanager
def running(
    directory: Path, location: str, *command: str, **options: str
) -> Iterator[subprocess.Popen[str]]:
    """volflow with a repository; killed at the end of the block unless it has ended."""
    password, config = directory / "password", directory / "volflow.conf"
    password.write_text("secret\n")
    lines = [f"{name} = {value}" for name, value in options.items()]
    config.write_text("\n".join(["[repository]", *lines, ""]))
    argv = (
        *(sys.executable, "-m", "volflow.cli.main", "--config-file", str(config)),
        *("--repository", location, "--password-file", str(password)),
        *("--state-dir", str(directory / "state"), *command),
    )
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OS_CLIENT_CONFIG_FILE": str(directory / "none.yaml")},
        cwd="/",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_a_signal_ends_a_command_and_its_restic(
    tmp_path: Path, silent: str, command: tuple[str, ...], number: signal.Signals
) -> None:
    with running(tmp_path, silent, *command) as process:
        until(lambda: restics(silent) != [])
        began = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=LIMIT)
        took = time.monotonic() - began
    until(lambda: restics(silent) == [])
    if number is signal.SIGKILL:
        return
    assert process.returncode == 128 + number
    by = "" if number is signal.SIGINT else r" by SIGTERM"
    assert said.splitlines()[-1] == f"Interrupted{by}."
    assert "run" not in said
    # It takes a part of a second; this host can be busy.
    assert took < 10


def test_a_second_signal_does_not_change_the_end(tmp_path: Path, silent: str) -> None:
    with running(tmp_path, silent, "backup", "list") as process:
        until(lambda: restics(silent) != [])
        # Both signals are pending when the process continues.
        for number in (signal.SIGSTOP, signal.SIGINT, signal.SIGHUP, signal.SIGCONT):
            process.send_signal(number)
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode in (128 + signal.SIGINT, 128 + signal.SIGHUP)
    assert said.count("Interrupted") == 1
    until(lambda: restics(silent) == [])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_silent_repository_is_reported(
    tmp_path: Path, silent: str, command: tuple[str, ...]
) -> None:
    limits = {"look_limit": "1", "stall_limit": "1"}
    with running(tmp_path, silent, *command, **limits) as process:
        said, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    words = " ".join(said.replace("|", " ").split())
    assert "was ended after 1 s without progress: check whether the repository" in words
    assert "raise " in words
    until(lambda: restics(silent) == [])


def _at_a_terminal(typed: bytes, program: str = ASKS) -> tuple[int, str]:
    """Answer the question of a command at a terminal; returns its exit status and all it shows."""
    pid, terminal = pty.fork()
    if not pid:
        os.environ["PAGER"] = "cat"
        os.execv(sys.executable, [sys.executable, "-c", program])
    shown, asked = b"", False
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            part = os.read(terminal, 4096)
        except OSError:
            break  # it has ended
        if not part:
            break
        shown += part
        if b"[y/N]" in shown and not asked:
            asked = True
            os.write(terminal, typed)
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_ctrl_c_at_a_question_ends_the_command() -> None:
    status, shown = _at_a_terminal(b"\x03")
    assert status == 130
    assert shown.splitlines()[-1] == "Interrupted."
    assert "IT WAS DONE" not in shown


@pytest.mark.parametrize("typed", [b"\x04", b"\n", b"n\n", b"yes please\n"], ids=repr)
def test_all_but_yes_is_a_no(typed: bytes) -> None:
    status, shown = _at_a_terminal(typed)
    assert status == 2
    assert "Nothing was done." in shown.splitlines()[-1]
    assert "IT WAS DONE" not in shown


@pytest.mark.parametrize("typed", [b"y\n", b"YES\n"], ids=repr)
def test_a_yes_at_a_question_is_agreement(typed: bytes) -> None:
    status, shown = _at_a_terminal(typed)
    assert status == 0
    assert "IT WAS DONE" in shown


NO_COMMAND = "import sys; from volflow.cli import main; sys.exit(main.main([]))"


def test_without_a_command_the_help_is_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_COMMAND],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert "backup create" in done.stdout


def test_without_a_command_a_terminal_is_not_asked_for_one() -> None:
    status, shown = _at_a_terminal(b"", NO_COMMAND)
    assert status == 2
    assert "backup create" in shown
    assert "(Cmd)" not in shown
