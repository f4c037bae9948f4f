"""Deletes runs that ended long ago, so that the database does not grow for ever."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from persistence import schema
from persistence.database import Database
from persistence.ledger import EntryState
from persistence.runs import RunState

_RUN, _LEDGER = schema.run, schema.ledger
# TaskFlow's own table. Deleting a logbook also deletes its flows and their atoms.
_LOGBOOK = sa.table("logbooks", sa.column("uuid"))
_ENDED = [state for state in RunState if state.final]


class Retention:
    """How long runs are kept, with their items, TaskFlow's logbooks and the ledger's entries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def forget(self, before: datetime, *, most: int) -> list[str]:
        """Delete the runs that ended before a moment, the oldest first.

        Runs that have not ended, and runs with an open entry in the ledger, are kept. The catalogue
        of backups is not changed.

        :param before: aware.
        :param most: maximum number of runs. Each is deleted in a transaction of its own, so that
            other processes do not wait long.
        :returns: the ids of the deleted runs.
        """
        open_entry = sa.exists().where(
            _LEDGER.c.run_id == _RUN.c.id, _LEDGER.c.state != EntryState.GONE
        )
        old = (_RUN.c.state.in_(_ENDED), _RUN.c.finished_at < before, ~open_entry)
        query = (
            sa.select(_RUN.c.id, _RUN.c.logbook_id)
            .where(*old)
            .order_by(_RUN.c.finished_at)
            .limit(most)
        )
        with self._database.read() as connection:
            found = [(row.id, row.logbook_id) for row in connection.execute(query)]
        return [run_id for run_id, book in found if self._forget(run_id, book, old)]

    def _forget(
        self, run_id: str, logbook_id: str | None, old: tuple[sa.ColumnElement[bool], ...]
    ) -> bool:
        with self._database.write() as connection:
            # This also deletes its items.
            run = sa.delete(_RUN).where(_RUN.c.id == run_id, *old)
            if connection.execute(run).rowcount == 0:
                return False
            connection.execute(sa.delete(_LEDGER).where(_LEDGER.c.run_id == run_id))
            if logbook_id is not None:
                connection.execute(sa.delete(_LOGBOOK).where(_LOGBOOK.c.uuid == logbook_id))
            return True
