"""TaskFlow's atoms, saved by as few messages to a server as can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON

from persistence import schema

# Of an atom, what never changes.
_CONSTANT = frozenset({"uuid", "name", "parent_uuid", "atom_type", "created_at"})


class AtomStatements:
    """For a server that takes several changes as one statement, and with it as one transaction.

    One statement is waited for once. psycopg's pipeline sends several by one message, but may wait
    between any two: where ten threads work, that is a change of threads, which costs more than the
    statement.

    :param atoms: TaskFlow's table of atoms
    """

    def __init__(self, atoms: sa.Table) -> None:
        self._atoms = atoms
        # Made once: to put a statement together costs more than to run it.
        self._statements = {
            (late, item): self._statement(late=late, item=item)
            for late in (False, True)
            for item in (False, True)
        }
        self._add = _add_atoms(atoms)

    @staticmethod
    def serve(dialect: str) -> bool:
        """Whether a database takes them."""
        return dialect == "postgresql"

    def save(
        self,
        connection: sa.Connection,
        atom: Mapping[str, Any],
        late: Mapping[str, Any] | None = None,
        *,
        item: Mapping[str, Any] | None = None,
    ) -> bool:
        """Save an atom, and with it another one and an item; the atom only where they are there.

        :param atom: its values by column, and its id as ``saved``
        :param late: those of another atom
        :param item: its values by column, with ``run_id`` and ``key``
        :returns: whether all of them are stored
        """
        now = datetime.now(UTC).replace(tzinfo=None)
        values = {f"atom_{name}": value for name, value in atom.items()}
        values["atom_updated_at"] = now
        if late is not None:
            values |= {f"late_{name}": value for name, value in late.items()}
            values["late_updated_at"] = now
        if item is not None:
            values |= {f"item_{name}": value for name, value in item.items()}
        statement = self._statements[late is not None, item is not None]
        return connection.execute(statement, values).rowcount == 1

    def add(self, connection: sa.Connection, atoms: Sequence[Mapping[str, Any]]) -> None:
        """Save new atoms.

        :param atoms: the values of each by column
        """
        now = {"created_at": datetime.now(UTC).replace(tzinfo=None)}
        connection.execute(self._add, {"rows": [{**now, **atom} for atom in atoms]})

    def _statement(self, *, late: bool, item: bool) -> sa.Update:
        statement, others = self._save_atom("atom"), []
        if late:
            others.append(self._save_atom("late").returning(self._atoms.c.uuid).cte("late"))
        if item:
            others.append(_save_item("item").returning(schema.run_item.c.key).cte("item"))
        return statement.where(*(sa.exists(sa.select(other)) for other in others))

    def _save_atom(self, prefix: str) -> sa.Update:
        table = self._atoms
        return (
            sa.update(table)
            .where(table.c.uuid == sa.bindparam(f"{prefix}_saved"))
            .values(
                {
                    column: sa.bindparam(f"{prefix}_{column.name}", type_=column.type)
                    for column in table.c
                    if column.name not in _CONSTANT
                }
            )
        )


def _add_atoms(table: sa.Table) -> sa.Insert:
    # All rows as one document, which the server reads by the types that it has itself.
    document = sa.bindparam("rows", type_=JSON())
    rows = sa.func.json_populate_recordset(
        sa.literal_column(f"NULL::{table.name}"), document
    ).table_valued(*(column.name for column in table.c))
    return sa.insert(table).from_select(list(rows.c.keys()), sa.select(rows))


def _save_item(prefix: str) -> sa.Update:
    table = schema.run_item
    return (
        sa.update(table)
        .where(
            table.c.run_id == sa.bindparam(f"{prefix}_run_id"),
            table.c.key == sa.bindparam(f"{prefix}_key"),
        )
        .values(
            {
                column: sa.bindparam(f"{prefix}_{column.name}", type_=column.type)
                for column in (table.c.step, table.c.result)
            }
        )
    )
