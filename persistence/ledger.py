"""The ledger: every temporary thing that a run has made or is about to make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from persistence import schema
from persistence.database import Database
from persistence.errors import NotFound
from persistence.upsert import insert_new


class EntryState(StrEnum):
    """Where a temporary thing stands."""

    #: About to be made: it may be there or not.
    INTENDED = "INTENDED"
    #: It is there.
    PRESENT = "PRESENT"
    #: It was removed, or never came to be.
    GONE = "GONE"
    #: It should be gone and could not be removed.
    LEFTOVER = "LEFTOVER"


@dataclass(frozen=True)
class Entry:
    """One temporary thing. Times are aware, in UTC."""

    #: What it carries in the cloud or on the host so that it can be recognised; unique.
    tag: str
    run_id: str
    #: Key of the run's item that it was made for.
    item: str
    kind: str
    resource_id: str | None
    state: EntryState
    #: Why it is a leftover.
    reason: str | None
    details: dict[str, Any]
    created_at: datetime
    updated_at: datetime


_OPEN = (EntryState.INTENDED, EntryState.PRESENT, EntryState.LEFTOVER)


# Made once: to put a statement together costs more than to run it.
_THIS = schema.ledger.c.tag == sa.bindparam("this_tag")
_SELECT = sa.select(schema.ledger).where(_THIS)
_UPDATE = sa.update(schema.ledger).where(_THIS)
_DELETE_GONE = sa.delete(schema.ledger).where(_THIS, schema.ledger.c.state == EntryState.GONE)


class Ledger:
    """The table ``ledger``. Every operation may be done twice, and by many threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def intend(
        self,
        tag: str,
        *,
        run_id: str,
        item: str,
        kind: str,
        details: Mapping[str, Any] | None = None,
    ) -> Entry:
        """Record that a thing is about to be made. Returns only once that would survive power loss.

        An entry that is there already keeps its state and is returned with it, and takes on the
        new details; but one that is GONE begins anew, INTENDED and the newest of all, as a resumed
        run makes the thing again.

        :param tag: what the thing will carry, unique.
        :param item: key of the run's item that it is for.
        :param details: what else will help to find and remove it; JSON must be able to hold it.
        """
        now = datetime.now(UTC)
        entry = Entry(
            tag=tag,
            run_id=run_id,
            item=item,
            kind=kind,
            resource_id=None,
            state=EntryState.INTENDED,
            reason=None,
            details=dict(details or {}),
            created_at=now,
            updated_at=now,
        )
        # Durable: after a loss of power the thing may be in the cloud; then this must be here.
        # Nearly always it is new.
        with self._database.single(durable=True) as connection:
            if insert_new(connection, schema.ledger, vars(entry)):
                return entry
        with self._database.write(durable=True) as connection:
            known = _find(connection, tag)
            if known is not None and known.state is not EntryState.GONE:
                if details is not None and known.details != details:
                    values = {"this_tag": tag, "details": entry.details, "updated_at": now}
                    connection.execute(_UPDATE, values)
                    return replace(known, details=entry.details, updated_at=now)
                return known
            if known is not None:
                # A new row, not a changed one, so that it counts as made last.
                connection.execute(_DELETE_GONE, {"this_tag": tag})
            if insert_new(connection, schema.ledger, vars(entry)):
                return entry
            # Only on a server: another process recorded it since we looked.
            return _entry(connection, tag)

    def present(
        self, tag: str, resource_id: str, *, details: Mapping[str, Any] | None = None
    ) -> None:
        """Record that the thing is there.

        :param resource_id: how Cinder or the host calls it.
        :param details: what to keep of it instead of what was given when it was intended.
        :raises NotFound: when it was never intended.
        """
        values: dict[str, Any] = {
            "state": EntryState.PRESENT,
            "resource_id": resource_id,
            "reason": None,
        }
        if details is not None:
            values["details"] = dict(details)
        self._change(tag, values)

    def gone(self, tag: str) -> None:
        """Record that the thing is not there any more. Nothing happens when ``tag`` is unknown."""
        try:
            self._change(tag, {"state": EntryState.GONE, "reason": None})
        except NotFound:
            return

    def leftover(self, tag: str, reason: str) -> None:
        """Record that the thing should be gone and could not be removed.

        :param reason: why, for the operator.
        :raises NotFound: when it was never intended.
        """
        self._change(tag, {"state": EntryState.LEFTOVER, "reason": reason})

    def find(self, tag: str) -> Entry | None:
        """Return the entry with this tag, None when there is none."""
        with self._database.single() as connection:
            return _find(connection, tag)

    def open(self, run_id: str | None = None, item: str | None = None) -> list[Entry]:
        """Return what is there or may be there, newest first, the order in which to remove it.

        :param run_id: only what this run made.
        :param item: only what was made for this item.
        """
        return self._list(_OPEN, run_id, None if item is None else [item])

    def leftovers(
        self, run_id: str | None = None, items: Collection[str] | None = None
    ) -> list[Entry]:
        """Return what should be gone and is not, newest first.

        :param run_id: only what this run made.
        :param items: only what was made for these.
        """
        return self._list((EntryState.LEFTOVER,), run_id, items)

    def _list(
        self, states: tuple[EntryState, ...], run_id: str | None, items: Collection[str] | None
    ) -> list[Entry]:
        table = schema.ledger
        query = sa.select(table).where(table.c.state.in_(states)).order_by(table.c.serial.desc())
        if run_id is not None:
            query = query.where(table.c.run_id == run_id)
        if items is not None:
            query = query.where(table.c.item.in_(items))
        with self._database.read() as connection:
            return [_to_entry(row) for row in connection.execute(query)]

    def _change(self, tag: str, values: dict[str, Any]) -> None:
        values |= {"updated_at": datetime.now(UTC), "this_tag": tag}
        with self._database.single() as connection:
            # On a server, one that begins anew in another transaction is missed, and there is next.
            while connection.execute(_UPDATE, values).rowcount == 0:
                _entry(connection, tag)


def _find(connection: sa.Connection, tag: str) -> Entry | None:
    row = connection.execute(_SELECT, {"this_tag": tag}).first()
    return None if row is None else _to_entry(row)


def _entry(connection: sa.Connection, tag: str) -> Entry:
    entry = _find(connection, tag)
    if entry is None:
        raise NotFound("ledger entry", tag)
    return entry


def _to_entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        tag=row.tag,
        run_id=row.run_id,
        item=row.item,
        kind=row.kind,
        resource_id=row.resource_id,
        state=EntryState(row.state),
        reason=row.reason,
        details=row.details,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
