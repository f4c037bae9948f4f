"""Insert or overwrite rows, or insert only new ones: one statement in each SQL dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import sqlalchemy as sa

_MYSQL = ("mysql", "mariadb")


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; if a row with the same primary key exists, overwrite its other columns.

    Unlike a query followed by INSERT or UPDATE, it cannot fail because another process inserted or
    deleted the row in between.
    """
    if not rows:
        return
    dialect = connection.dialect.name
    others = [column.name for column in table.columns if not column.primary_key]
    insert = _insert(dialect, table)
    if dialect in _MYSQL:
        changes = {name: insert.inserted[name] for name in others}
        connection.execute(insert.on_duplicate_key_update(changes), rows)
        return
    changes = {name: insert.excluded[name] for name in others}
    connection.execute(insert.on_conflict_do_update(table.primary_key, set_=changes), rows)


def insert_new(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its keys exists; returns whether it was inserted."""
    return bool(connection.execute(_insert_new(connection.dialect.name, table), row).rowcount)


@cache
def _insert_new(dialect: str, table: sa.Table) -> sa.Insert:
    insert = _insert(dialect, table)
    statement: sa.Insert
    if dialect in _MYSQL:
        statement = insert.prefix_with("IGNORE")
    else:
        statement = insert.on_conflict_do_nothing()
    # SQLAlchemy keeps the row count of an INSERT only on request.
    return statement.execution_options(preserve_rowcount=True)


def _insert(dialect: str, table: sa.Table) -> Any:
    """The dialect's own INSERT. Only the dialect in use is imported, because imports are slow."""
    name = "mysql" if dialect in _MYSQL else dialect
    return import_module(f"sqlalchemy.dialects.{name}").insert(table)
