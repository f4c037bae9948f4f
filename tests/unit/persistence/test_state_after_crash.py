"""The state after a kill, with other processes at work, and on a full disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from persistence import EntryState, State
from persistence.database import Database
from tests.support.waiting import LIMIT

Spawn = Callable[..., Any]


def test_all_that_was_committed_survives_a_kill(url: str, spawn: Spawn) -> None:
    process = spawn("intend_for_ever", url)
    for _ in range(100):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    # Not communicate(): it leaves out what readline() has already buffered.
    told = 100 + len(process.stdout.readlines())
    process.wait()
    with State.open(url) as state:
        tags = {entry.tag for entry in state.ledger.open()}
        assert {f"t{number}" for number in range(told - 1)} <= tags
        assert len(tags) <= told + 1
        state.ledger.intend("after", run_id="r", item="i", kind="k")


def test_a_kill_inside_a_transaction_leaves_nothing_of_it(url: str, spawn: Spawn) -> None:
    with State.open(url) as state:
        state.ledger.intend("t", run_id="r", item="i", kind="k")
    process = spawn("stop_inside_a_write", url)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with State.open(url) as state:
        (entry,) = state.ledger.open()
        assert (entry.state, entry.reason) == (EntryState.INTENDED, None)
        state.ledger.present("t", "id")


def test_a_kill_inside_a_migration_leaves_nothing_of_it(new_url: str, spawn: Spawn) -> None:
    process = spawn("stop_inside_a_migration", new_url)
    assert process.stdout.readline() == "ready\n", process.communicate()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    database = Database(new_url)
    with database.read() as connection:
        assert sa.inspect(connection).get_table_names() == []
    database.close()
    with State.open(new_url, migrate=True) as state:
        assert state.runs.list() == []


def test_processes_that_read_and_then_write(url: str, spawn: Spawn) -> None:
    """SQLite does not turn a read into a write if another process has written since the read."""
    with State.open(url) as state:
        run = state.runs.create("backup", {}, [], host="h", boot_id="b", pid=0)
    processes = [spawn("append_to_a_backup", url, 100) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, output
    with State.open(url) as state:
        assert state.runs.get(run.id).pid == 300, "none was lost"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small disk")
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no mount is allowed here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk(small_disk: Path, spawn: Spawn) -> None:
    url = f"sqlite:///{small_disk}/state/state.sqlite"
    output, errors = spawn("fill", url).communicate(timeout=LIMIT)
    message, committed = output.splitlines()
    assert message.startswith("StateUnavailable"), errors
    assert "the disk is full" in message
    assert int(committed) > 20
    # With more space, everything committed is there and writing works again.
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    with State.open(url) as state:
        assert len(state.ledger.open()) == int(committed)
        state.ledger.intend("after", run_id="r", item="i", kind="k")
        with state._database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


@pytest.mark.parametrize("exists", [False, True])
def test_a_disk_that_is_full_before_it_begins(small_disk: Path, spawn: Spawn, exists: bool) -> None:
    """SQLite cannot even read a database then: it needs space for its -shm file."""
    url = f"sqlite:///{small_disk}/state.sqlite"
    if exists:
        State.open(url).close()
    (small_disk / "ballast").write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    output, errors = spawn("fill", url).communicate(timeout=LIMIT)
    assert output.startswith("StateUnavailable"), (output, errors)
    assert "the disk is full" in output
