"""Every test with the fixture ``url`` or ``state`` runs on SQLite and on a real PostgreSQL server.

The server is the one in VOLFLOW_TEST_POSTGRESQL_URL, where the user must be allowed to create
databases, or a private one that is started for the session.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

import persistence
from persistence import Run, State, schema
from persistence.database import Database, parse
from tests.support.postgresql import Unavailable, running

# Tables that others depend on come last.
_TABLES = ["atomdetails", "flowdetails", "logbooks"]
_TABLES += [table.name for table in reversed(schema.metadata.sorted_tables)]
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a server's administrative database."""
    with ExitStack() as stack:
        url = os.environ.get("VOLFLOW_TEST_POSTGRESQL_URL")
        if not url:
            pytest.importorskip("psycopg", reason="psycopg is not installed")
            try:
                url = stack.enter_context(running())
            except Unavailable as error:
                pytest.skip(str(error))
        yield url


@contextmanager
def _new_database(server: str) -> Iterator[str]:
    address = parse(server)
    name = f"state_{uuid.uuid4().hex}"
    engine = sa.create_engine(address, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def shared_url(postgresql: str) -> Iterator[str]:
    """URL of a database with its tables, emptied for each test: new tables take too long."""
    with _new_database(postgresql) as url:
        State.migrate(url)
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Which database to use."""
    return str(request.param)


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables; with SQLite, of a file that does not exist."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/state/state.sqlite"
    else:
        with _new_database(request.getfixturevalue("postgresql")) as url:
            yield url


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database with its tables, which a test must not change."""
    if kind == "sqlite":
        made = f"sqlite:///{tmp_path}/state/state.sqlite"
        State.migrate(made)
        yield made
    else:
        shared: str = request.getfixturevalue("shared_url")
        database = Database(shared)
        with database.write() as connection:
            for table in _TABLES:
                connection.execute(sa.text(f"DELETE FROM {table}"))
        database.close()
        yield shared


@pytest.fixture
def state(url: str) -> Iterator[State]:
    """An open state."""
    with State.open(url) as opened:
        yield opened


@pytest.fixture
def new_run(state: State) -> Callable[..., Run]:
    """Creates runs, with defaults for most arguments."""

    def make(*items: str, kind: str = "backup", run_id: str | None = None) -> Run:
        pairs = [(item, f"name of {item}") for item in items]
        return state.runs.create(
            kind, {"volumes": list(items)}, pairs, host="h", boot_id="b", pid=1, run_id=run_id
        )

    return make


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start a function of ``state_processes.py`` in a separate process."""
    started: list[subprocess.Popen[str]] = []
    root = Path(persistence.__file__).parents[1]

    def start(function: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "tests.support.state_processes",
                function,
                *map(str, arguments),
            ],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
