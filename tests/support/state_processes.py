"""Functions that tests run in separate processes, to kill them or to let them compete."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from persistence import Held, State, StateError


def open_when_told(url: str) -> None:
    """Open a state at the same moment as other processes."""
    print("ready", flush=True)
    sys.stdin.readline()
    with State.open(url, migrate=True) as state:
        print(len(state.runs.list()))


def imported(url: str) -> None:
    """Open a state that is up to date; print whether that imported Alembic and TaskFlow."""
    with State.open(url):
        print("alembic" in sys.modules, "taskflow" in sys.modules)


def intend_for_ever(url: str) -> None:
    """Write, and print each tag after its commit."""
    with State.open(url) as state:
        for number in itertools.count():
            state.ledger.intend(f"t{number}", run_id="r", item="i", kind="k")
            print(number, flush=True)


def stop_inside_a_write(url: str) -> None:
    """Write, and stop before the commit."""
    from persistence import schema
    from persistence.database import Database

    database = Database(url)
    with database.write() as connection:
        connection.execute(schema.ledger.update().values(reason="never committed"))
        print("ready", flush=True)
        time.sleep(60)


def connect_to_many(directory: str, count: str, first: str) -> None:
    """Connect to new files in turn, to each at the same moment as other processes."""
    from persistence import sqlite
    from persistence.database import Database

    for number in range(int(count)):
        time.sleep(max(0.0, float(first) + number * 0.03 - time.time()))
        path = Path(directory, f"{number}.sqlite")
        sqlite.prepare(path, create=True)
        database = Database(f"sqlite:///{path}")
        with database.read():
            pass
        database.close()


def stop_inside_a_migration(url: str) -> None:
    """Make the tables, and wait for input before the commit."""
    from alembic import command

    from persistence import migrations
    from persistence.database import Database

    original = command.upgrade

    def upgrade(*arguments: object) -> None:
        original(*arguments)  # type: ignore[arg-type]
        print("ready", flush=True)
        sys.stdin.readline()

    command.upgrade = upgrade  # type: ignore[assignment]
    from persistence import sqlite

    database = Database(url)
    if database.path is not None:
        sqlite.prepare(database.path, create=True)
    migrations.upgrade(database)


def append_to_a_backup(url: str, rounds: str) -> None:
    """Read and write in one transaction, as TaskFlow does, while other processes do the same."""
    from persistence import schema
    from persistence.database import Database

    print("ready", flush=True)
    sys.stdin.readline()
    database = Database(url)
    column = schema.run.c.pid
    for _ in range(int(rounds)):
        with database.write() as connection:
            query = schema.run.select().with_for_update()
            value = connection.execute(query).one().pid
            connection.execute(schema.run.update().values({column: value + 1}))
    database.close()


def fight_for_lease(url: str, owner: str, rounds: str) -> None:
    """Try to take ``rounds`` leases at the same moment as others; print those that were won."""
    with State.open(url) as state:
        print("ready", flush=True)
        sys.stdin.readline()
        won = []
        for number in range(int(rounds)):
            try:
                state.leases.acquire(f"lease {number}", owner, 60)
                won.append(number)
            except Held:
                pass
        print(*won)


def count_under_lease(url: str, owner: str, path: str, rounds: str) -> None:
    """Count in a file that only the holder of a short lease may change."""
    with State.open(url) as state:
        done = 0
        while done < int(rounds):
            try:
                lease = state.leases.acquire("count", owner, 30)
            except Held:
                time.sleep(0.001)
                continue
            with open(path) as file:
                value = int(file.read())
            time.sleep(0.001)
            with open(path, "w") as file:
                file.write(str(value + 1))
            state.leases.release(lease)
            done += 1


def run_flow(url: str, log: str) -> None:
    """Run a flow of three tasks; the second never ends by itself."""
    from tests.support.state_flow import start

    with State.open(url) as state:
        start(state, log)


def resume_flow(url: str, log: str) -> None:
    """Resume the flow of :func:`run_flow`."""
    from tests.support.state_flow import resume

    with State.open(url) as state:
        print(resume(state, log))


def open_as_nobody(url: str) -> None:
    """Open a state without root's rights, and print the result."""
    # That user may be unable to read modules that are imported later.
    for name in (
        "alembic.command",
        "alembic.ddl.sqlite",
        "persistence.backend",
        "sqlalchemy.dialects.sqlite",
    ):
        importlib.import_module(name)

    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    _report(lambda: State.open(url).close())


def fill(url: str) -> None:
    """Write until the disk is full; print how many writes were committed."""
    committed = 0

    def write() -> None:
        nonlocal committed
        with State.open(url) as state:
            for number in itertools.count():
                details = {"padding": "x" * 5000}
                state.ledger.intend(f"t{number}", run_id="r", item="i", kind="k", details=details)
                committed += 1

    _report(write)
    print(committed)


def _report(action: Callable[[], None]) -> None:
    try:
        action()
    except StateError as error:
        print(type(error).__name__, error)
    else:
        print("fine")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
