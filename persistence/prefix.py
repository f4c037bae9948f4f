"""Finds a row by its id, or by the beginning of it."""

from __future__ import annotations

import sqlalchemy as sa

from persistence.errors import Ambiguous, NotFound

_SHOWN = 10


def find(
    connection: sa.Connection,
    query: sa.Select[tuple[object, ...]],
    column: sa.Column[str],
    prefix: str,
    *,
    what: str,
    label: sa.ColumnElement[str] | None = None,
) -> sa.Row[tuple[object, ...]]:
    """Return the row in which the column equals the prefix, or else starts with it.

    :param query: what to select, newest first.
    :param what: the kind of record, for the errors.
    :param label: names a match in the errors; the column by default.
    :raises NotFound: when no row matches.
    :raises Ambiguous: when several rows match.
    """
    if not prefix:
        raise NotFound(what, prefix)
    # substr, not LIKE: LIKE ignores case on SQLite, and takes % and _ for wildcards.
    for condition in (column == prefix, sa.func.substr(column, 1, len(prefix)) == prefix):
        shown = (column if label is None else label).label("shown_as")
        rows = connection.execute(query.add_columns(shown).where(condition).limit(_SHOWN)).all()
        if len(rows) > 1:
            raise Ambiguous(what, prefix, [row.shown_as for row in rows])
        if rows:
            return rows[0]
    raise NotFound(what, prefix)
