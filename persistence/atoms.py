"""TaskFlow's atoms, saved by as few messages to a server as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from persistence import schema

# Of an atom, what never changes.
_CONSTANT = frozenset({"uuid", "name", "parent_uuid", "atom_type", "created_at"})


class AtomStatements:
    """For a server that takes several changes as one statement, and with it as one transaction.

    One statement is waited for once. psycopg's pipeline sends several by one message, but may wait
    between any two: where ten threads work, that is a change of threads, which costs more than the
    statement.

    :param flows: TaskFlow's table of flows
    :param atoms: and that of atoms
    """

    def __init__(self, flows: sa.Table, atoms: sa.Table) -> None:
        self._atoms = atoms
        # Made once: to put a statement together costs more than to run it.
        self._statements = {item: self._statement(item=item) for item in (False, True)}
        self._add = _add(flows, atoms)

    @staticmethod
    def serve(dialect: str) -> bool:
        """Whether a database takes them."""
        return dialect == "postgresql"

    def save(
        self,
        connection: sa.Connection,
        atom: Mapping[str, Any],
        *,
        item: Mapping[str, Any] | None = None,
    ) -> bool:
        """Save an atom, and with it an item; the atom only where that is there.

        :param atom: its values by column, and its id as ``saved``
        :param item: its values by column, with ``run_id`` and ``key``
        :returns: whether all of them are stored
        """
        now = datetime.now(UTC).replace(tzinfo=None)
        values = {f"atom_{name}": value for name, value in atom.items()}
        values["atom_updated_at"] = now
        if item is not None:
            values |= {f"item_{name}": value for name, value in item.items()}
        statement = self._statements[item is not None]
        return connection.execute(statement, values).rowcount == 1

    def add(
        self,
        connection: sa.Connection,
        flow: Mapping[str, Any],
        atoms: Sequence[Mapping[str, Any]],
    ) -> bool:
        """Save a flow, and atoms of it that are new.

        :param flow: its values by column, and its id as ``saved``
        :param atoms: those of each atom by column. Nothing in them may be text that the server
            cannot hold, such as names of files in results: new atoms have none
        :returns: whether the flow is stored, and with it the atoms
        """
        now = datetime.now(UTC).replace(tzinfo=None)
        values = {f"flow_{name}": value for name, value in flow.items()}
        values["flow_updated_at"] = now
        values["rows"] = [{"created_at": now, **atom} for atom in atoms]
        return connection.execute(self._add, values).rowcount == len(atoms)

    def _statement(self, *, item: bool) -> sa.Update:
        atoms, items = self._atoms, schema.run_item.c
        statement, others = _save(atoms, "atom"), []
        if item:
            save = _update(
                "item", {"run_id": items.run_id, "key": items.key}, [items.step, items.result]
            )
            others.append(save.returning(items.key).cte("item"))
        return statement.where(*(sa.exists(sa.select(other)) for other in others))


def _save(table: sa.Table, prefix: str) -> sa.Update:
    """The update of a flow or an atom, whose parameters begin with a prefix."""
    changing = [column for column in table.c if column.name not in _CONSTANT]
    return _update(prefix, {"saved": table.c.uuid}, changing)


def _update(
    prefix: str, known_by: Mapping[str, sa.Column[Any]], changing: Sequence[sa.Column[Any]]
) -> sa.Update:
    """The update of columns of a row, whose parameters begin with a prefix.

    :param known_by: what the row is known by, and the parameters for that
    """
    return (
        sa.update(changing[0].table)
        .where(*(column == sa.bindparam(f"{prefix}_{name}") for name, column in known_by.items()))
        .values(
            {
                column: sa.bindparam(f"{prefix}_{column.name}", type_=column.type)
                for column in changing
            }
        )
    )


def _add(flows: sa.Table, atoms: sa.Table) -> sa.Insert:
    flow = _save(flows, "flow").returning(flows.c.uuid).cte("flow")
    # All rows as one document, which the server reads by the types that it has itself.
    document = sa.bindparam("rows", type_=sa.JSON())
    names = [column.name for column in atoms.c]
    rows = sa.func.json_populate_recordset(
        sa.literal_column(f"NULL::{atoms.name}"), document
    ).table_valued(*names)
    new = sa.select(*(rows.c[name] for name in names)).where(rows.c.parent_uuid == flow.c.uuid)
    # SQLAlchemy keeps the count of an INSERT only when it is asked to.
    return sa.insert(atoms).from_select(names, new).execution_options(preserve_rowcount=True)
