"""Saves TaskFlow's atoms with as few messages to a database server as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from persistence import schema

# The columns of an atom that never change.
_CONSTANT = frozenset({"uuid", "name", "parent_uuid", "atom_type", "created_at"})


class AtomStatements:
    """Statements for a server that accepts several changes as one statement and one transaction.

    The process waits only once for one statement. psycopg's pipeline sends several statements in
    one message, but may wait between any two of them. With ten threads, each wait switches threads,
    which costs more than the statement.

    :param flows: TaskFlow's table of flows
    :param atoms: TaskFlow's table of atoms
    """

    def __init__(self, flows: sa.Table, atoms: sa.Table) -> None:
        self._atoms = atoms
        # Built only once: building a statement costs more than running it.
        self._statements = {item: self._statement(item=item) for item in (False, True)}
        self._add = _add(flows, atoms)

    @staticmethod
    def serve(dialect: str) -> bool:
        """Whether a database supports these statements."""
        return dialect == "postgresql"

    def save(
        self,
        connection: sa.Connection,
        atom: Mapping[str, Any],
        *,
        item: Mapping[str, Any] | None = None,
    ) -> bool:
        """Save an atom, together with an item if one is given: the atom only if the item exists.

        :param atom: its values by column, and its id as ``saved``
        :param item: its values by column, with ``run_id`` and ``key``
        :returns: whether everything was saved
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
        """Save a flow, and its new atoms.

        :param flow: its values by column, and its id as ``saved``
        :param atoms: the values of each atom by column. They must not contain text that the server
            cannot store, such as file names in results: new atoms have no results
        :returns: whether the flow and the atoms were saved
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
    """The statement that updates a flow or an atom. Its parameters begin with the prefix."""
    changing = [column for column in table.c if column.name not in _CONSTANT]
    return _update(prefix, {"saved": table.c.uuid}, changing)


def _update(
    prefix: str, known_by: Mapping[str, sa.Column[Any]], changing: Sequence[sa.Column[Any]]
) -> sa.Update:
    """The statement that updates columns of a row. Its parameters begin with the prefix.

    :param known_by: the columns that identify the row, by parameter name without the prefix
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
    # All rows as one JSON document, which the server reads by the types of its columns.
    document = sa.bindparam("rows", type_=sa.JSON())
    names = [column.name for column in atoms.c]
    rows = sa.func.json_populate_recordset(
        sa.literal_column(f"NULL::{atoms.name}"), document
    ).table_valued(*names)
    new = sa.select(*(rows.c[name] for name in names)).where(rows.c.parent_uuid == flow.c.uuid)
    # SQLAlchemy keeps the row count of an INSERT only on request.
    return sa.insert(atoms).from_select(names, new).execution_options(preserve_rowcount=True)
