"""Translates errors of SQLAlchemy and its drivers into errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import exc as sa_exc

from persistence.errors import StateError, StateUnavailable

_FULL = ("the disk is full", "Free some space, then resume; what was committed is intact.")
_LOCKED = (
    "another process kept it locked for too long",
    "Find the process that hangs while it writes (fuser, lsof), end it and try again.",
)
_RIGHTS = "Give this user the right to write the file and its directory, or name another file."

# https://sqlite.org/rescode.html, by name. A name also covers its extended codes.
_SQLITE = {
    "SQLITE_FULL": _FULL,
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_READONLY": ("it is read-only", _RIGHTS),
    "SQLITE_PERM": ("permission denied", _RIGHTS),
    "SQLITE_AUTH": ("permission denied", _RIGHTS),
    "SQLITE_CANTOPEN": ("it, or a file beside it, cannot be opened", _RIGHTS),
    "SQLITE_NOTADB": (
        "the file is not an SQLite database",
        "Name another file, or move this one away.",
    ),
    "SQLITE_CORRUPT": (
        "the file is damaged",
        "Keep a copy, and try `sqlite3 FILE .recover`. Backups are found without it: start a new "
        "file and rebuild the catalogue from the repository.",
    ),
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html. Errors of connecting (such as an
# unknown user or database) have no code, only the server's message.
_POSTGRESQL = {
    "53100": ("the server's disk is full", "Free some space on the server, then resume."),
    "53300": (
        "the server has no connection left",
        "Raise max_connections there, or end idle ones.",
    ),
    "25006": ("the server is read-only", "Name the primary server in the URL, not a standby."),
    "42501": ("the user lacks a right", "Let the user own the database, or grant it the tables."),
}


def explain(error: sa_exc.SQLAlchemyError, where: str, path: Path | None) -> Exception:
    """Return the error to raise for an error of the database.

    :param error: what SQLAlchemy raised.
    :param where: the database without its password, for the message.
    :param path: its file, for SQLite.
    :return: a :class:`StateUnavailable` or :class:`StateError`; the original error if a value could
        not be converted; ``error`` itself for a violated constraint, which the caller handles.
    """
    if isinstance(error, sa_exc.IntegrityError):
        return error
    if isinstance(error, sa_exc.TimeoutError):
        return StateUnavailable(
            where, "no connection became free in time", "Something holds one: see the log."
        )
    if isinstance(error, sa_exc.DBAPIError):
        reason, action = _of_driver(error.orig, path)
        return StateUnavailable(where, reason, action)
    if isinstance(error, sa_exc.StatementError) and isinstance(error.orig, Exception):
        return error.orig
    return StateError(f"The state database {where}: {_first_line(error)}")


def _of_driver(error: BaseException | None, path: Path | None) -> tuple[str, str]:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, path)
    code: str | None = getattr(error, "sqlstate", None)
    if code in _POSTGRESQL:
        return _POSTGRESQL[code]
    if code is not None:
        return f"{_first_line(error)} ({code})", "See the log of the server."
    return (
        _first_line(error),
        "See that the server runs and can be reached from here, and that user, password and name "
        "in the URL are right.",
    )


def _of_sqlite(error: sqlite3.Error, path: Path | None) -> tuple[str, str]:
    name: str = getattr(error, "sqlite_errorname", None) or ""
    # A full disk also shows as an input/output error, when SQLite cannot extend its -shm file.
    if name.startswith("SQLITE_IOERR") and path is not None and _is_full(path.parent):
        return _FULL
    for known, (reason, action) in _SQLITE.items():
        if name == known or name.startswith(known + "_"):
            if path is not None and action is _RIGHTS and not os.access(path.parent, os.W_OK):
                reason = f"the directory {path.parent} is not writable"
            return reason, action
    return _first_line(error), "See the system's log for errors of the disk."


def _is_full(directory: Path) -> bool:
    try:
        return os.statvfs(directory).f_bavail == 0
    except OSError:
        return False


def _first_line(error: BaseException | None) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__
