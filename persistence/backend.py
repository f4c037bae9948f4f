"""TaskFlow's persistence backend on this package's engine and transactions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from taskflow import exceptions, states
from taskflow.persistence import models
from taskflow.persistence.backends import impl_sqlalchemy

from persistence.atoms import AtomStatements
from persistence.database import Database
from persistence.errors import StateUnavailable
from persistence.overrides import overrides
from persistence.runs import ItemSteps, save_step

# States in which TaskFlow leaves a flow alone.
_ENDED = (states.SUCCESS, states.REVERTED, states.FAILURE, states.SUSPENDED)


class StorageUnavailable(StateUnavailable, exceptions.StorageFailure):
    """The database failed under TaskFlow.

    It is also one of TaskFlow's own errors: TaskFlow then tries the save three times, five seconds
    apart, so that a run survives the restart of a database server.
    """

    # TaskFlow's exceptions expect this attribute.
    _cause = None

    def __str__(self) -> str:
        return str(self.args[0])


@overrides("taskflow")
class TaskflowBackend(impl_sqlalchemy.SQLAlchemyBackend):
    """TaskFlow's SQLAlchemy backend with one connection object for all.

    TaskFlow's backend makes a new connection object, with all table metadata, for each save. That
    is slow, defeats SQLAlchemy's cache of statements and leaks memory on SQLAlchemy 2.1. The object
    has no state except the tables, so threads may share it.

    It raises :class:`StorageUnavailable` when the database fails.
    """

    def __init__(self, database: Database) -> None:
        super().__init__({}, engine=database.engine)
        self._connection = _Connection(self, database)

    def get_connection(self) -> _Connection:
        """Return the one connection object. Closing it does nothing."""
        return self._connection

    def close(self) -> None:
        """Do nothing: State closes the database."""


class _Transactions:
    """The methods of an engine that TaskFlow uses, ``begin`` and ``connect``; and ``single``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.url = database.engine.url

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        with _taskflow_errors(), self._database.write() as connection:
            yield connection

    @contextmanager
    def single(self) -> Iterator[sa.Connection]:
        with _taskflow_errors(), self._database.single() as connection:
            yield connection

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        with _taskflow_errors(), self._database.read() as connection:
            yield connection


@contextmanager
def _taskflow_errors() -> Iterator[None]:
    try:
        yield
    except StateUnavailable as error:
        raise StorageUnavailable(error.where, error.reason, error.action) from error.__cause__
    except sa.exc.SQLAlchemyError as error:
        raise exceptions.StorageFailure("a statement failed", error) from error


@overrides("taskflow", own=("update_atom",), sets=("_engine",))
class _Connection(impl_sqlalchemy.Connection):
    """TaskFlow's connection, without the reads before each save.

    TaskFlow's connection reads the stored row and merges it with the new values, because another
    process may have changed it. At each change of a flow's state it also saves all atoms of the
    flow again. Neither is needed: the lease of a run keeps others from changing its flows, and
    TaskFlow saves each changed atom anyway.
    """

    def __init__(self, backend: TaskflowBackend, database: Database) -> None:
        super().__init__(backend, upgrade_lock=None)
        self._engine = _Transactions(database)
        # Built only once: building a statement costs more than running it.
        flows, atoms = self._tables.flowdetails, self._tables.atomdetails
        self._save_flow = sa.update(flows).where(flows.c.uuid == sa.bindparam("saved"))
        self._save_atom = sa.update(atoms).where(atoms.c.uuid == sa.bindparam("saved"))
        self._atoms_of = sa.select(atoms.c.uuid).where(atoms.c.parent_uuid == sa.bindparam("flow"))
        self._add_flows, self._add_atoms = sa.insert(flows), sa.insert(atoms)
        self._server = (
            AtomStatements(flows, atoms) if AtomStatements.serve(database.dialect) else None
        )
        # The number of stored atoms of each running flow, by the flow's id.
        self._stored: dict[str, int] = {}

    def update_atom_details(self, atom_detail: models.AtomDetail) -> models.AtomDetail:
        """Update a stored atom."""
        self.update_atom(atom_detail)
        return atom_detail

    def update_atom(self, atom: models.AtomDetail, steps: ItemSteps | None = None) -> None:
        """Update a stored atom, together with items of the run, in one transaction.

        :param steps: the new steps of the items.
        :raises NotFound: when the atom or an item does not exist; then nothing is saved.
        """
        rows = steps.rows() if steps is not None else []
        server = self._server if len(rows) <= 1 else None
        with self._engine.begin() if rows and not server else self._engine.single() as connection:
            if server is not None:
                stored = server.save(connection, _values(atom), item=rows[0] if rows else None)
            else:
                stored = connection.execute(self._save_atom, _values(atom)).rowcount == 1
                for row in rows:
                    stored &= save_step(connection, row)
            if not stored:
                raise exceptions.NotFound(f"atom {atom.uuid} does not exist")

    def update_flow_details(self, flow_detail: models.FlowDetail) -> models.FlowDetail:
        """Update a stored flow, and insert its atoms that are not stored yet."""
        flow_id, count = flow_detail.uuid, len(flow_detail)
        new = count != self._stored.get(flow_id, 0)
        values = _values(flow_detail)
        # A server that saves the flow and its atoms by one statement needs no transaction.
        together = new and self._server is None
        with self._engine.begin() if together else self._engine.single() as connection:
            rows = []
            if new:
                stored = set(connection.execute(self._atoms_of, {"flow": flow_id}).scalars())
                rows = _rows(flow_detail, stored)
            if rows and self._server is not None:
                found = self._server.add(connection, values, rows)
            else:
                found = connection.execute(self._save_flow, values).rowcount == 1
                if found and rows:
                    connection.execute(self._add_atoms, rows)
            if not found:
                raise exceptions.NotFound(f"flow {flow_id} does not exist")
        self._stored[flow_id] = count
        if flow_detail.state in _ENDED:
            del self._stored[flow_id]
        return flow_detail

    def get_flow_details(self, fd_uuid: str | None, lazy: bool = False) -> models.FlowDetail:
        """Read a flow with its atoms, without a write transaction.

        :raises NotFound: when it does not exist.
        """
        flows = self._tables.flowdetails
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(flows).where(flows.c.uuid == fd_uuid)).first()
            if row is None:
                raise exceptions.NotFound(f"flow {fd_uuid} does not exist")
            flow = self._converter.convert_flow_detail(row._mapping)
            if not lazy:
                self._converter.populate_flow_detail(connection, flow)
        return flow

    def save_logbook(self, book: models.LogBook) -> models.LogBook:
        """Save a new or existing book with its flows and their atoms."""
        books = self._tables.logbooks
        with self._engine.begin() as connection:
            query = sa.select(books.c.uuid).where(books.c.uuid == book.uuid)
            new = connection.execute(query).first() is None
            if new:
                connection.execute(sa.insert(books), book.to_dict())
                flows = [flow.to_dict() | {"parent_uuid": book.uuid} for flow in book]
                if flows:
                    connection.execute(self._add_flows, flows)
                rows = [row for flow in book for row in _rows(flow, frozenset())]
                if rows:
                    connection.execute(self._add_atoms, rows)
        return book if new else super().save_logbook(book)

    def validate(self, max_retries: int = 0) -> None:
        """Do nothing: State.open has already connected."""

    def upgrade(self) -> None:
        """Do nothing: State.migrate also updates TaskFlow's tables."""


def _values(detail: models.AtomDetail | models.FlowDetail) -> dict[str, Any]:
    """The values of an atom or a flow to save: all except those that identify it."""
    values: dict[str, Any] = detail.to_dict()
    values["saved"] = values.pop("uuid")
    del values["name"]
    return values


def _rows(flow: models.FlowDetail, stored: Collection[str]) -> list[dict[str, Any]]:
    """The rows of those atoms of a flow that are not stored yet."""
    return [
        atom.to_dict() | {"parent_uuid": flow.uuid, "atom_type": models.atom_detail_type(atom)}
        for atom in flow
        if atom.uuid not in stored
    ]


def upgrade(connection: sa.Connection) -> None:
    """Make or alter TaskFlow's tables, in the transaction of ``connection``.

    :raises sqlalchemy.exc.SQLAlchemyError: when the database fails.
    """
    if connection.dialect.name == "sqlite":
        # TaskFlow's migrations cannot run on SQLite. TaskFlow creates its tables there like this.
        metadata = sa.MetaData()
        impl_sqlalchemy.tables.fetch(metadata)
        metadata.create_all(bind=connection)
    else:
        impl_sqlalchemy.migration.db_sync(connection)
    # TaskFlow has no index for the atoms of a flow and the flows of a book: each save of a flow
    # would read the atoms of all flows that ever ran.
    existing = sa.inspect(connection)
    for table in ("flowdetails", "atomdetails"):
        name = f"ix_{table}_parent_uuid"
        if name not in {index["name"] for index in existing.get_indexes(table)}:
            connection.execute(sa.text(f"CREATE INDEX {name} ON {table} (parent_uuid)"))
