"""Insert or overwrite, in one statement, in the words of each database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
