"""Opening a state: the owner of its file, the errors, and the speed."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from persistence import SchemaOutOfDate, State, StateUnavailable
from persistence.database import Database, mask, parse
from tests.support.waiting import LIMIT

Spawn = Callable[..., Any]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def use(state: State) -> None:
    """Write something, so that all files exist."""
    state.ledger.intend("t", run_id="r", item="i", kind="k")


def test_a_new_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.sqlite"
    before = os.umask(0)
    try:
        with State.open(f"sqlite:///{path}") as state:
            use(state)
            files = sorted(path.parent.iterdir())
            assert [file.name[12:] for file in files] == ["", "-shm", "-wal"]
            assert [oct(mode(file)) for file in files] == ["0o600"] * 3
    finally:
        os.umask(before)
    assert oct(mode(path.parent)) == "0o700"


def test_an_existing_file_is_closed_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "state.sqlite"
    with State.open(f"sqlite:///{path}") as state:
        use(state)
        for file in tmp_path.iterdir():
            file.chmod(0o644)
        with State.open(f"sqlite:///{path}"):
            assert {oct(mode(file)) for file in tmp_path.iterdir()} == {"0o600"}
    assert oct(mode(tmp_path)) == "0o755", "a directory that was there is not ours to change"


def test_opening_it_again_does_not_drop_the_locks(tmp_path: Path, spawn: Spawn) -> None:
    """POSIX drops a process's locks on a file when any descriptor of it is closed."""
    url = f"sqlite:///{tmp_path}/state.sqlite?timeout=0.3"
    with State.open(url) as state, state._database.write() as connection:
        connection.execute(sa.text("DELETE FROM ledger"))
        from persistence import sqlite

        sqlite.prepare(tmp_path / "state.sqlite", create=True)
        output = spawn("fill", url).communicate(timeout=LIMIT)[0]
    assert "locked" in output


def test_sqlite_has_the_pragmas_that_it_needs(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/state.sqlite")

    def value(name: str) -> Any:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

    names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
    with database.read() as connection:
        assert [value(name) for name in names] == ["wal", 1, 60000, 1]
    with database.write(durable=True) as connection:
        assert value("synchronous") == 2
    with database.write() as connection:
        assert value("synchronous") == 1
    database.close()


def test_what_was_written_is_there_when_opened_again(new_url: str) -> None:
    with State.open(new_url, migrate=True) as state:
        use(state)
    with State.open(new_url) as state:
        assert state.ledger.find("t") is not None


def test_the_state_can_be_in_memory() -> None:
    with State.open("sqlite://") as state:
        use(state)
        assert [entry.tag for entry in state.ledger.open()] == ["t"]


def test_a_relative_path_survives_a_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with State.open("sqlite:///state.sqlite") as state:
        monkeypatch.chdir("/")
        state._database.engine.dispose()
        use(state)
        assert state.ledger.find("t") is not None


def test_only_sqlite_is_migrated_unasked(new_url: str) -> None:
    if new_url.startswith("sqlite"):
        State.open(new_url).close()
        return
    with pytest.raises(SchemaOutOfDate, match=r"State\.migrate") as caught:
        State.open(new_url)
    assert caught.value.found is None
    State.migrate(new_url)
    State.open(new_url).close()


def test_no_migration_when_told_so(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with pytest.raises(StateUnavailable, match="no such file"):
        State.open(f"sqlite:///{path}", migrate=False)
    assert not path.exists()
    path.touch(0o600)
    with pytest.raises(SchemaOutOfDate):
        State.open(f"sqlite:///{path}", migrate=False)
    assert path.stat().st_size <= 4096, "no table was made"


def test_processes_may_open_a_new_database_at_once(new_url: str, spawn: Spawn) -> None:
    processes = [spawn("open_when_told", new_url) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=LIMIT)
        assert (output, process.returncode) == ("0\n", 0), errors


def test_processes_may_connect_to_a_new_file_at_once(tmp_path: Path, spawn: Spawn) -> None:
    """SQLite does not wait for a lock when it changes to WAL: without a retry some fail."""
    first = time.time() + 1
    processes = [spawn("connect_to_many", tmp_path, 60, first) for _ in range(3)]
    for process in processes:
        output = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, output


def test_a_process_waits_for_the_migration_of_another(new_url: str, spawn: Spawn) -> None:
    migrating = spawn("stop_inside_a_migration", new_url)
    assert migrating.stdout.readline() == "ready\n", migrating.communicate()
    opening = spawn("open_when_told", new_url)
    assert opening.stdout.readline() == "ready\n"
    opening.stdin.write("go\n")
    opening.stdin.flush()
    with pytest.raises(subprocess.TimeoutExpired):
        opening.wait(1)
    assert migrating.communicate("commit\n", timeout=LIMIT)[1] == ""
    output, errors = opening.communicate(timeout=LIMIT)
    assert (output, opening.returncode) == ("0\n", 0), errors


def test_opening_what_is_up_to_date_imports_no_more_than_it_needs(url: str, spawn: Spawn) -> None:
    output, errors = spawn("imported", url).communicate(timeout=LIMIT)
    assert output.split() == ["False", "False"], errors


@pytest.mark.parametrize("exists", [False, True])
def test_a_directory_without_the_right_to_write(tmp_path: Path, spawn: Spawn, exists: bool) -> None:
    directory = tmp_path / "closed"
    directory.mkdir()
    path = directory / "state.sqlite"
    if exists:
        State.open(f"sqlite:///{path}").close()
        path.chmod(0o666)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    directory.chmod(0o555)
    # Any user can enter the directories above this one.
    for parent in [directory, *directory.parents]:
        if parent.owner() != "root" or parent == directory or str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o111)
    output, errors = spawn("open_as_nobody", f"sqlite:///{path}").communicate(timeout=LIMIT)
    assert output.startswith("StateUnavailable"), (output, errors)
    assert str(directory) in output
    assert "Let this user write" in output or "Give this user the right" in output


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    path.write_text("Dear diary, " * 500)
    with pytest.raises(StateUnavailable, match="not an SQLite database"):
        State.open(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear diary")


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with State.open(f"sqlite:///{path}") as state:
        use(state)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StateUnavailable, match="damaged"), State.open(f"sqlite:///{path}") as state:
        use(state)


def test_a_lock_that_is_never_given_up(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    with State.open(f"sqlite:///{path}?timeout=0.2") as state:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert state.ledger.open() == [], "readers do not wait for a writer"
        with pytest.raises(StateUnavailable, match="locked for too long"):
            use(state)
        other.execute("ROLLBACK")
        use(state)
        other.close()


def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StateUnavailable) as caught:
        State.open("postgresql://me:secret@127.0.0.1:1/name")
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "See that the server runs" in caught.value.action


def test_what_a_server_refuses(postgresql: str) -> None:
    server = parse(postgresql)
    with pytest.raises(StateUnavailable, match='"nothing" does not exist'):
        State.open(server.set(database="nothing").render_as_string(hide_password=False))


def test_sessions_that_the_server_ended_are_replaced(state: State) -> None:
    if state._database.dialect != "postgresql":
        pytest.skip("SQLite has no server")
    use(state)
    other = Database(state._database.engine.url.render_as_string(hide_password=False))
    with other.write() as connection:
        ended = connection.execute(
            sa.text(
                "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ).scalar_one()
    other.close()
    assert ended >= 1
    # A connection that was used a moment ago is not checked.
    time.sleep(0.02)
    assert state.ledger.find("t") is not None


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nothing://x", "'nothing' is not a supported database"),
        ("//:secret@", "cannot be parsed"),
        ("", "cannot be parsed"),
        ("sqlite:///x?timeout=secrets", "wrong option"),
    ],
)
def test_urls_that_make_no_sense(url: str, message: str) -> None:
    with pytest.raises(StateUnavailable, match=message) as caught:
        State.open(url)
    assert "secret@" not in str(caught.value)


def test_a_driver_that_is_not_installed() -> None:
    if importlib.util.find_spec("mariadb") is not None:
        pytest.skip("the driver is installed")
    with pytest.raises(StateUnavailable, match="is not installed") as caught:
        State.open("mariadb+mariadbconnector://user:secret@localhost/name")
    assert "secret" not in str(caught.value)


def test_passwords_are_masked(state: State) -> None:
    url = parse("postgres://me:secret@host/name?password=secret&sslmode=require")
    assert mask(url) == "postgresql+psycopg://me:***@host/name?password=hidden&sslmode=require"
    assert state.url.startswith(("sqlite:///", "postgresql+psycopg://"))


def test_a_closed_state_says_so(url: str) -> None:
    state = State.open(url)
    state.close()
    state.close()
    with pytest.raises(StateUnavailable, match="closed"):
        state.runs.list()


def test_a_transaction_inside_another_is_a_mistake(state: State) -> None:
    """With a single connection it would wait for itself."""
    with state._database.read(), pytest.raises(RuntimeError, match="inside another"):
        state.runs.list()
    assert state.runs.list() == []
