"""SQLite that stands many writers, and databases that are prepared once.

Stock SQLite under ten parallel users of Cinder answers "database is locked" and Cinder answers
500: a transaction that begins with a read and then writes cannot wait for a lock, as its snapshot
is already too old. Taking the write lock at the start makes it wait instead; with write-ahead
logging nobody waits long.
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

    oslo.db emits the BEGIN itself, as a statement, so it can be seen and replaced here.
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
    """Put a prepared database at ``target``: from the cache, or made by ``build`` and then cached.

    Returns whether it came from the cache. Many labs may do this at once: what stands in the cache
    under its name is always a whole database, as it got there by a rename.
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
        # The mode is a property of the file, and stays.
        connection.execute("PRAGMA journal_mode = WAL")
    if not hit:
        _store(target, cached)
    return hit


def keep_open(database: Path) -> sqlite3.Connection:
    """A connection that does nothing but stay.

    oslo.db opens SQLite anew for every transaction, and whoever closes the last connection folds
    the write-ahead log into the database and removes it: with this one there is no last one.
    """
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _store(database: Path, cached: Path) -> None:
    cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for abandoned in cached.parent.glob(".*.sqlite.*"):
        # Of a process that was killed right here; a living one needs a moment only.
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
