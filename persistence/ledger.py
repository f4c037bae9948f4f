"""The ledger: every temporary resource that a run has made or is about to make."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """The state of a temporary resource."""

    #: About to be made: it may exist or not.
    INTENDED = "INTENDED"
    #: It exists.
    PRESENT = "PRESENT"
    #: It was removed, or never existed.
    GONE = "GONE"
    #: It should no longer exist, but could not be removed.
    LEFTOVER = "LEFTOVER"


@dataclass(frozen=True)
class Entry:
    """One temporary resource. Times are aware, in UTC."""

    #: The unique tag that identifies it in the cloud or on the host.
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


# Built only once: building a statement costs more than running it.
_THIS = schema.ledger.c.tag == sa.bindparam("this_tag")
_SELECT = sa.select(schema.ledger).where(_THIS)
_SELECT_ALL = sa.select(schema.ledger).where(
    schema.ledger.c.tag.in_(sa.bindparam("these_tags", expanding=True))
)
_UPDATE = sa.update(schema.ledger).where(_THIS)
_DELETE_GONE = sa.delete(schema.ledger).where(_THIS, schema.ledger.c.state == EntryState.GONE)


class Ledger:
    """The table ``ledger``. Every operation is idempotent and thread-safe."""

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
        """Record that a resource is about to be made. Returns when this would survive power loss.

        An existing entry keeps its state and gets the new details. But a GONE entry starts again,
        as INTENDED and the newest of all, because a resumed run makes the resource again.

        :param tag: the unique tag of the resource.
        :param item: key of the run's item that it is for.
        :param details: what else helps to find and remove it; must be valid JSON.
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
        # Durable: after a loss of power the resource may exist, so its entry must too.
        # Nearly always the entry is new.
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
                # A new row instead of an update, so that it is the newest.
                connection.execute(_DELETE_GONE, {"this_tag": tag})
            if insert_new(connection, schema.ledger, vars(entry)):
                return entry
            # Only on a server: another process has recorded it in the meantime.
            return _entry(connection, tag)

    def present(
        self, tag: str, resource_id: str, *, details: Mapping[str, Any] | None = None
    ) -> None:
        """Record that the resource exists.

        :param resource_id: its id in Cinder or its name on the host.
        :param details: replaces the details of :meth:`intend`.
        :raises NotFound: when :meth:`intend` has not recorded it.
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
        """Record that the resource no longer exists. Does nothing if the tag is unknown."""
        try:
            self._change(tag, {"state": EntryState.GONE, "reason": None})
        except NotFound:
            return

    def leftover(self, tag: str, reason: str) -> None:
        """Record that the resource should no longer exist, but could not be removed.

        :param reason: why, for the operator.
        :raises NotFound: when :meth:`intend` has not recorded it.
        """
        self._change(tag, {"state": EntryState.LEFTOVER, "reason": reason})

    def find(self, tag: str) -> Entry | None:
        """Return the entry with this tag, None if it does not exist."""
        with self._database.single() as connection:
            return _find(connection, tag)

    def find_all(self, tags: Sequence[str]) -> dict[str, Entry]:
        """Return the entries with these tags that exist, by tag."""
        with self._database.single() as connection:
            rows = connection.execute(_SELECT_ALL, {"these_tags": list(tags)})
            return {row.tag: _to_entry(row) for row in rows}

    def open(
        self, run_id: str | None = None, item: str | None = None, *, kind: str | None = None
    ) -> list[Entry]:
        """Return the resources that exist or may exist, newest first: the order to remove them in.

        :param run_id: only those of this run.
        :param item: only those for this item.
        :param kind: only those of this kind.
        """
        return self._list(_OPEN, run_id, None if item is None else [item], kind)

    def leftovers(
        self, run_id: str | None = None, items: Collection[str] | None = None
    ) -> list[Entry]:
        """Return the leftovers, newest first.

        :param run_id: only those of this run.
        :param items: only those for these items.
        """
        return self._list((EntryState.LEFTOVER,), run_id, items)

    def _list(
        self,
        states: tuple[EntryState, ...],
        run_id: str | None,
        items: Collection[str] | None,
        kind: str | None = None,
    ) -> list[Entry]:
        table = schema.ledger
        query = sa.select(table).where(table.c.state.in_(states)).order_by(table.c.serial.desc())
        if run_id is not None:
            query = query.where(table.c.run_id == run_id)
        if items is not None:
            query = query.where(table.c.item.in_(items))
        if kind is not None:
            query = query.where(table.c.kind == kind)
        with self._database.read() as connection:
            return [_to_entry(row) for row in connection.execute(query)]

    def _change(self, tag: str, values: dict[str, Any]) -> None:
        values |= {"updated_at": datetime.now(UTC), "this_tag": tag}
        with self._database.single() as connection:
            # On a server, the first try misses a row that another transaction replaces.
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
