"""SQLite for many writers, and databases that are prepared once.

Stock SQLite under ten parallel users of Cinder answers "database is locked" and Cinder answers
500: a transaction that begins with a read and then writes cannot wait for a lock, because its
snapshot is already too old. With the write lock taken at the start it can wait, and with
write-ahead logging nobody waits long.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import settings

#: Part of the cache's key: raise it when this package prepares a database differently.
RECIPE = 1
PACKAGES = ("cinder", "keystone", "oslo.db", "alembic", "SQLAlchemy")


def take_write_locks_at_begin() -> None:
    """Turn every BEGIN of this process into BEGIN IMMEDIATE.

    oslo.db emits the BEGIN itself, as a statement, so this can replace it.
    """
    import sqlalchemy
    import sqlalchemy.engine

    @sqlalchemy.event.listens_for(sqlalchemy.engine.Engine, "before_cursor_execute", retval=True)
    def _begin_immediate(
        connection: Any,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> tuple[str, Any]:
        return ("BEGIN IMMEDIATE" if statement == "BEGIN" else statement), parameters


def prepare(service: str, target: Path, build: Callable[[], None]) -> bool:
    """Put a prepared database at ``target``: from the cache, or built by ``build`` and then cached.

    Returns whether it came from the cache. Many labs may do this at once: a database in the cache
    is always complete, because a rename put it there.
    """
    cached = settings.cache_directory() / f"{service}-{_key()}.sqlite"
    try:
        shutil.copyfile(cached, target)
        hit = True
    except FileNotFoundError:
        build()
        hit = False
    os.chmod(target, 0o600)
    with contextlib.closing(sqlite3.connect(target)) as connection:
        # The mode is stored in the file.
        connection.execute("PRAGMA journal_mode = WAL")
    if not hit:
        _store(target, cached)
    return hit


def keep_open(database: Path) -> sqlite3.Connection:
    """A connection that stays open.

    oslo.db opens SQLite again for every transaction, and closing the last connection folds
    the write-ahead log into the database and removes it. With this one, none is the last.
    """
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _store(database: Path, cached: Path) -> None:
    cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for abandoned in cached.parent.glob(".*.sqlite.*"):
        # A process that was killed here left it; a running one removes it in a moment.
        with contextlib.suppress(FileNotFoundError):
            if time.time() - abandoned.stat().st_mtime > 600:
                abandoned.unlink()
    descriptor, name = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}.")
    os.close(descriptor)
    fresh = Path(name)
    try:
        with (
            contextlib.closing(sqlite3.connect(database)) as source,
            contextlib.closing(sqlite3.connect(fresh)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        os.replace(fresh, cached)
    finally:
        fresh.unlink(missing_ok=True)


def _key() -> str:
    """What the content of a prepared database depends on."""
    parts = [f"recipe {RECIPE}", sys.version, sqlite3.sqlite_version]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
