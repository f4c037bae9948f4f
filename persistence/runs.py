"""The runs: their requests, the processes that drive them, and the progress of their items."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from persistence import prefix, schema
from persistence.columns import UtcDateTime
from persistence.database import Database
from persistence.errors import NotFound


class RunState(StrEnum):
    """The state of a run."""

    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (RunState.RUNNING, RunState.SUSPENDED)


class ItemState(StrEnum):
    """The state of one item of a run."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    ABORTED = "ABORTED"
    #: It ended before anything was done, because there was nothing to do any more.
    LEFT_OUT = "LEFT_OUT"

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (ItemState.PENDING, ItemState.RUNNING)


@dataclass(frozen=True)
class Run:
    """One backup or restore run. Times are aware, in UTC."""

    id: str
    kind: str
    state: RunState
    #: The request as JSON returns it: tuples have become lists.
    request: dict[str, Any]
    #: The process that drives it, or drove it last: host, boot of that host, process id.
    host: str
    boot_id: str
    pid: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    #: The TaskFlow logbook that holds its flows.
    logbook_id: str | None
    #: How it was requested to stop; None if it was not.
    stop: str | None
    #: When a person stopped it, so that only a person continues it; None if nobody did.
    held_at: datetime | None = None


@dataclass(frozen=True)
class Item:
    """One item of a run, such as a volume. Times are aware, in UTC."""

    run_id: str
    key: str
    name: str
    state: ItemState
    #: The TaskFlow flow that works on it.
    flow_id: str | None
    #: Its current or last step.
    step: str | None
    result: dict[str, Any]
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None
    #: Its position in the order in which the items were given, from 0.
    position: int
    #: The progress of a long step, updated from time to time.
    progress: dict[str, Any] | None = None


class RunFields(TypedDict, total=False):
    """The fields that :meth:`Runs.update` can change."""

    state: RunState
    request: Mapping[str, Any]
    host: str
    boot_id: str
    pid: int
    finished_at: datetime | None
    logbook_id: str | None
    stop: str | None
    held_at: datetime | None


class ItemFields(TypedDict, total=False):
    """The fields that :meth:`Runs.update_item` can change."""

    name: str
    state: ItemState
    flow_id: str | None
    step: str | None
    progress: Mapping[str, Any] | None
    result: Mapping[str, Any]
    error: str | None
    started_at: datetime | None
    finished_at: datetime | None


class StepFields(TypedDict):
    """The fields of an item that change when one of its steps begins."""

    step: str
    result: Mapping[str, Any]


@dataclass(frozen=True)
class ItemSteps:
    """The new steps of items of one run, by the keys of the items."""

    run_id: str
    items: Mapping[str, StepFields]

    def rows(self) -> list[dict[str, Any]]:
        """The values to save for each item, with its key and the run's id."""
        return [{"run_id": self.run_id, "key": key, **self.items[key]} for key in self.items]


# Built only once: building a statement costs more than running it.
_THIS_ITEM = (
    schema.run_item.c.run_id == sa.bindparam("this_run"),
    schema.run_item.c.key == sa.bindparam("this_item"),
)
_SELECT_ITEM = sa.select(schema.run_item).where(*_THIS_ITEM)
_UPDATE_ITEM = sa.update(schema.run_item).where(*_THIS_ITEM)
_START_ITEM = _UPDATE_ITEM.values(
    started_at=sa.func.coalesce(
        schema.run_item.c.started_at, sa.bindparam("now", type_=UtcDateTime)
    )
)
_TOUCH_RUN = sa.update(schema.run).where(schema.run.c.id == sa.bindparam("this_run"))

_NEWEST_FIRST = (schema.run.c.created_at.desc(), schema.run.c.id.desc())


class Runs:
    """The tables ``run`` and ``run_item``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        kind: str,
        request: Mapping[str, Any],
        items: Sequence[tuple[str, str]],
        *,
        host: str,
        boot_id: str,
        pid: int,
        run_id: str | None = None,
    ) -> Run:
        """Record a new run, RUNNING, with all its items PENDING, in one transaction.

        :param kind: ``backup`` or ``restore``.
        :param request: what the run must do; must be valid JSON.
        :param items: key and name of each item, in order; keys are unique within the run.
        :param run_id: its id; a new UUID by default.
        :raises ValueError: when two items have the same key, or the id exists.
        """
        if len({key for key, _ in items}) != len(items):
            raise ValueError("two items of a run have the same key")
        run_id = run_id or str(uuid.uuid4())
        now = datetime.now(UTC)
        values = {
            "id": run_id,
            "kind": kind,
            "state": RunState.RUNNING,
            "request": dict(request),
            "host": host,
            "boot_id": boot_id,
            "pid": pid,
            "created_at": now,
            "updated_at": now,
        }
        rows = [
            {
                "run_id": run_id,
                "key": key,
                "name": name,
                "state": ItemState.PENDING,
                "position": position,
                "result": {},
            }
            for position, (key, name) in enumerate(items)
        ]
        try:
            with self._database.write(durable=True) as connection:
                connection.execute(sa.insert(schema.run), values)
                if rows:
                    connection.execute(sa.insert(schema.run_item), rows)
                return _run(connection, run_id)
        except sa_exc.IntegrityError as error:
            raise ValueError(f"run {run_id!r} exists already") from error

    def get(self, id_or_prefix: str) -> Run:
        """Return a run by its id or the beginning of it.

        :raises NotFound: when no run matches.
        :raises Ambiguous: when several runs match.
        """
        query = sa.select(schema.run).order_by(*_NEWEST_FIRST)
        with self._database.read() as connection:
            row = prefix.find(connection, query, schema.run.c.id, id_or_prefix, what="run")
            return _to_run(row)

    def list(
        self,
        *,
        state: RunState | None = None,
        kind: str | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> list[Run]:
        """Return runs, newest first.

        :param state: only those in this state.
        :param kind: only those of this kind.
        :param limit: maximum number of runs.
        :param marker: id of the last run of the previous page; the list starts after it.
        :raises NotFound: when the run ``marker`` does not exist.
        """
        table = schema.run
        query = sa.select(table).order_by(*_NEWEST_FIRST).limit(limit)
        if state is not None:
            query = query.where(table.c.state == state)
        if kind is not None:
            query = query.where(table.c.kind == kind)
        with self._database.read() as connection:
            if marker is not None:
                last = _run(connection, marker)
                query = query.where(
                    sa.or_(
                        table.c.created_at < last.created_at,
                        sa.and_(table.c.created_at == last.created_at, table.c.id < last.id),
                    )
                )
            return [_to_run(row) for row in connection.execute(query)]

    def items(self, run_id: str) -> Sequence[Item]:
        """Return the items of a run in their order; empty if the run does not exist."""
        table = schema.run_item
        query = sa.select(table).where(table.c.run_id == run_id).order_by(table.c.position)
        with self._database.read() as connection:
            return [_to_item(row) for row in connection.execute(query)]

    def item(self, run_id: str, key: str) -> Item:
        """Return one item.

        :raises NotFound: when it does not exist.
        """
        with self._database.read() as connection:
            return _item(connection, run_id, key)

    def last_items(self, kind: str) -> Sequence[Item]:
        """Return the last ended item for each key, of the runs of a kind."""
        item, run = schema.run_item, schema.run
        ended = [state for state in ItemState if state.final]
        newest = sa.func.row_number().over(
            partition_by=item.c.key, order_by=(item.c.finished_at.desc(), item.c.run_id)
        )
        ranked = (
            sa.select(item, newest.label("rank"))
            .join(run, run.c.id == item.c.run_id)
            .where(run.c.kind == kind, item.c.state.in_(ended))
            .subquery()
        )
        query = sa.select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.key)
        with self._database.read() as connection:
            return [_to_item(row) for row in connection.execute(query)]

    def update(self, run_id: str, **fields: Unpack[RunFields]) -> Run:
        """Change a run, and set its ``updated_at``.

        A final state sets ``finished_at`` unless that is given too; any other state clears it.

        :raises NotFound: when the run does not exist.
        :raises TypeError: when a field does not exist.
        """
        values = _checked(dict(fields), RunFields)
        now = datetime.now(UTC)
        values["updated_at"] = now
        if "state" in values:
            state = values["state"] = RunState(values["state"])
            values.setdefault("finished_at", now if state.final else None)
        with self._database.write() as connection:
            table = schema.run
            connection.execute(sa.update(table).where(table.c.id == run_id).values(values))
            return _run(connection, run_id)

    def update_item(self, run_id: str, key: str, **fields: Unpack[ItemFields]) -> None:
        """Change an item; ``result`` replaces the old one.

        RUNNING sets ``started_at`` if it is not set; a final state sets ``finished_at``, any other
        state clears it. Times that are given take precedence. A new state also sets the run's
        ``updated_at``.

        :raises NotFound: when the item does not exist.
        :raises TypeError: when a field does not exist.
        """
        self.update_items(run_id, {key: fields})

    def update_items(self, run_id: str, changes: Mapping[str, ItemFields | StepFields]) -> None:
        """Change several items by their keys: all of them or none.

        :raises NotFound: when one of them does not exist.
        :raises TypeError: when a field does not exist.
        """
        one = len(changes) == 1
        with self._database.single() if one else self._database.write() as connection:
            for key, fields in changes.items():
                _change_item(connection, run_id, key, fields)


def save_step(connection: sa.Connection, row: Mapping[str, Any]) -> bool:
    """Save a row of :meth:`ItemSteps.rows`; returns whether the item exists."""
    values = {"step": row["step"], "result": row["result"]}
    this = {"this_run": row["run_id"], "this_item": row["key"]}
    return connection.execute(_UPDATE_ITEM, values | this).rowcount == 1


def _change_item(
    connection: sa.Connection, run_id: str, key: str, fields: ItemFields | StepFields
) -> None:
    values = _checked(dict(fields), ItemFields)
    this = {"this_run": run_id, "this_item": key}
    statement, now = _UPDATE_ITEM, datetime.now(UTC)
    if "state" in values:
        state = values["state"] = ItemState(values["state"])
        values.setdefault("finished_at", now if state.final else None)
        if state is ItemState.RUNNING and "started_at" not in values:
            statement, values["now"] = _START_ITEM, now
    if values and connection.execute(statement, values | this).rowcount == 0:
        raise NotFound("item", f"{key} of run {run_id}")
    if "state" in values:
        connection.execute(_TOUCH_RUN, {"this_run": run_id, "updated_at": now})


def _checked(fields: dict[str, Any], known: type[RunFields] | type[ItemFields]) -> dict[str, Any]:
    unknown = sorted(fields.keys() - known.__annotations__.keys())
    if unknown:
        raise TypeError(f"unknown field: {', '.join(unknown)}")
    return fields


def _run(connection: sa.Connection, run_id: str) -> Run:
    row = connection.execute(sa.select(schema.run).where(schema.run.c.id == run_id)).first()
    if row is None:
        raise NotFound("run", run_id)
    return _to_run(row)


def _item(connection: sa.Connection, run_id: str, key: str) -> Item:
    row = connection.execute(_SELECT_ITEM, {"this_run": run_id, "this_item": key}).first()
    if row is None:
        raise NotFound("item", f"{key} of run {run_id}")
    return _to_item(row)


def _to_run(row: sa.Row[Any]) -> Run:
    return Run(
        id=row.id,
        kind=row.kind,
        state=RunState(row.state),
        request=row.request,
        host=row.host,
        boot_id=row.boot_id,
        pid=row.pid,
        created_at=row.created_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        logbook_id=row.logbook_id,
        stop=row.stop,
        held_at=row.held_at,
    )


def _to_item(row: sa.Row[Any]) -> Item:
    return Item(
        run_id=row.run_id,
        key=row.key,
        name=row.name,
        state=ItemState(row.state),
        flow_id=row.flow_id,
        step=row.step,
        result=row.result,
        error=row.error,
        started_at=row.started_at,
        finished_at=row.finished_at,
        position=row.position,
        progress=row.progress,
    )
