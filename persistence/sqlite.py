"""Makes SQLite safe and fast: file permissions, pragmas, and how transactions begin."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc
from sqlalchemy.pool import QueuePool

from persistence.errors import StateUnavailable

#: Seconds to wait for a lock that another process holds, unless the URL says ``?timeout=``.
BUSY_TIMEOUT = 60.0
# Threads queue for the one connection, and each may itself wait for the lock. This must take longer
# than the wait for the lock, whose error says more than "no connection".
_POOL_TIMEOUT_FACTOR = 10


def file_of(url: sa.URL) -> Path | None:
    """Return the absolute path of the database file, None for a database in memory."""
    if not url.database or url.database == ":memory:":
        return None
    return Path(url.database).absolute()


def prepare(path: Path, *, create: bool) -> None:
    """Make sure that the file exists and that only its owner can read it.

    SQLite gives ``-wal`` and ``-shm`` the mode of the file itself, so mode 0600 of a new file
    covers all three. Only SQLite opens the file: closing any other descriptor of it would drop the
    locks that this process holds on it (POSIX).

    :param create: create the file, and its directory with mode 0700, if they are missing.
    :raises StateUnavailable: when the file is missing or cannot be created.
    """
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mknod(path, stat.S_IFREG | 0o600)
        _tighten(path)
    except OSError as error:
        raise StateUnavailable(
            str(path),
            f"{error.strerror} ({error.filename})",
            "Let this user write there, or name another file.",
        ) from error


def _tighten(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such file", str(path))
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        try:
            status = name.stat()
        except FileNotFoundError:
            continue
        # Only the owner may change the mode. If the file belongs to another user, leave it alone.
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            name.chmod(0o600)


def create_engine(url: sa.URL) -> sa.Engine:
    """Make an engine with one connection, which threads use one after another.

    One connection, because SQLite has only one writer at a time, and reopening the file for each
    transaction (SQLAlchemy's NullPool) costs more than the transaction. A queue of size one,
    because it gives the connection to one thread for a whole transaction. StaticPool would give it
    to all threads at once, and one thread's commit would commit half of another's work.
    """
    timeout = float(str(url.query.get("timeout", BUSY_TIMEOUT)))
    engine = sa.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=_POOL_TIMEOUT_FACTOR * timeout,
        # Transactions are always ended explicitly: a rollback on return is not needed.
        pool_reset_on_return=None,
        connect_args={
            # The pool moves the connection from thread to thread, never to two at once.
            "check_same_thread": False,
            "timeout": timeout,
            # No implicit BEGIN by the driver; _begin below does it.
            "isolation_level": None,
        },
    )
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _connected(connection: sqlite3.Connection, record: Any) -> None:
    cursor = connection.cursor()
    try:
        timeout = cursor.execute("PRAGMA busy_timeout").fetchone()[0] / 1000
        _write_ahead(cursor, time.monotonic() + timeout)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
    finally:
        cursor.close()


def _write_ahead(cursor: sqlite3.Cursor, deadline: float) -> None:
    # The change to WAL needs exclusive access. SQLite refuses it at once, without the busy timeout,
    # if another process makes the same change at the same moment.
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL").fetchall()
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("state_write"):
        _execute(connection, "BEGIN")
        return
    level = "FULL" if options.get("state_durable") else "NORMAL"
    if connection.info.get("synchronous", "NORMAL") != level:
        _execute(connection, f"PRAGMA synchronous={level}")
        connection.info["synchronous"] = level
    if options.get("state_single"):
        return
    # Take the write lock at once. A transaction that reads before it writes cannot wait for the
    # lock: SQLite answers "database is locked" immediately, because its snapshot may be old.
    _execute(connection, "BEGIN IMMEDIATE")


def _execute(connection: sa.Connection, statement: str) -> None:
    """Run a statement without parameters and result, faster than by SQLAlchemy."""
    try:
        connection.connection.driver_connection.execute(statement)  # type: ignore[union-attr]
    except sqlite3.Error as error:
        raise sa_exc.OperationalError(statement, None, error) from error
