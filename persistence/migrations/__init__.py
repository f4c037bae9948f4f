"""The schema's revisions, run by Alembic inside one transaction.

Alembic is imported only for a migration, because its import takes longer than opening the database.

To add a revision: change ``schema.py``, write ``versions/r0003_what.py`` like the existing ones,
and set ``HEAD``. A test compares the result of the revisions with ``schema.py``. TaskFlow's tables
are migrated at the same time, so a TaskFlow release that changes them needs a revision here too,
which can be empty.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from persistence.database import Database
from persistence.errors import SchemaOutOfDate

#: The revision that this program works with.
HEAD = "0003"
#: TaskFlow has ``alembic_version`` in the same database.
VERSION_TABLE = "state_version"

# Any number that nothing else in the database uses for an advisory lock.
_LOCK = 0x766F6C666C6F77


def current(connection: sa.Connection) -> str | None:
    """Return the revision of the database, None if it has no tables of this package."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    query = sa.text(f"SELECT version_num FROM {VERSION_TABLE}")
    revision = connection.execute(query).scalar_one_or_none()
    return None if revision is None else str(revision)


def upgrade(database: Database) -> None:
    """Migrate the tables, and those of TaskFlow, to ``HEAD``. Several processes may do so at once.

    :raises SchemaOutOfDate: when a newer program made them.
    :raises StateUnavailable: when the database fails.
    """
    with database.write(durable=True) as connection:
        _lock(connection)
        found = current(connection)
        if found == HEAD:
            # Another process has already migrated it.
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        from persistence import backend

        config = Config()
        location = str(Path(__file__).parent).replace("%", "%%")
        config.set_main_option("script_location", location)
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise SchemaOutOfDate(database.url, found, HEAD, newer=True)
        backend.upgrade(connection)
        command.upgrade(config, HEAD)


def _lock(connection: sa.Connection) -> None:
    # SQLite: the write transaction is the lock. MariaDB has no DDL in transactions.
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
