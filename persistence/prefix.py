"""Finding a row by its id, or by the beginning of it that people type."""

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
    """Return the one row whose ``column`` is ``prefix``, else the one where it starts with it.

    :param query: what to select, newest first.
    :param what: the kind of thing, for the errors.
    :param label: what to call a match in the errors; ``column`` unless given.
    :raises NotFound: when there is none.
    :raises Ambiguous: when there are several.
    """
    if not prefix:
        raise NotFound(what, prefix)
    # substr, not LIKE: LIKE ignores case on SQLite, and % and _ have a meaning in it.
    for condition in (column == prefix, sa.func.substr(column, 1, len(prefix)) == prefix):
        shown = (column if label is None else label).label("shown_as")
        rows = connection.execute(query.add_columns(shown).where(condition).limit(_SHOWN)).all()
        if len(rows) > 1:
            raise Ambiguous(what, prefix, [row.shown_as for row in rows])
        if rows:
            return rows[0]
    raise NotFound(what, prefix)
