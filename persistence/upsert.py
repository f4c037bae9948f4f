"""Insert or overwrite, or insert if it is new: one statement, in the words of each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert ``rows``; where the primary key is taken, overwrite all else.

    Unlike a search followed by INSERT or UPDATE it cannot fail because somebody else inserted,
    or deleted, in between.
    """
    if not rows:
        return
    others = [column.name for column in table.columns if not column.primary_key]
    if connection.dialect.name in ("mysql", "mariadb"):
        on_mysql = mysql.insert(table)
        changes = {name: on_mysql.inserted[name] for name in others}
        connection.execute(on_mysql.on_duplicate_key_update(changes), rows)
        return
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    changes = {name: insert.excluded[name] for name in others}
    connection.execute(insert.on_conflict_do_update(table.primary_key, set_=changes), rows)


def insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its keys is taken; whether it was inserted."""
    return bool(connection.execute(_insert_new(connection.dialect.name, table), row).rowcount)


@cache
def _insert_new(dialect: str, table: sa.Table) -> sa.Insert:
    statement: sa.Insert
    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table).prefix_with("IGNORE")
    elif dialect == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
    else:
        statement = sqlite.insert(table).on_conflict_do_nothing()
    # SQLAlchemy keeps the count of an INSERT only when it is asked to.
    return statement.execution_options(preserve_rowcount=True)
