"""Reads the state database by SQL: the open runs, and the entries of the ledger."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.auditor import Auditor, Finding

_LOOKS = {
    "ledger": "SELECT tag, state, reason FROM ledger WHERE state != 'GONE'",
    "lease": "SELECT name, owner FROM lease",
    "run": "SELECT id, state FROM run WHERE state IN ('RUNNING', 'SUSPENDED')",
    "item": "SELECT run_id, key, state FROM run_item WHERE state IN ('PENDING', 'RUNNING')",
}


@dataclass(frozen=True)
class StateReader:
    """One state database.

    :ivar directory: the state directory
    :ivar connection: the URL of a server's database; SQLite in the directory unless given
    """

    directory: Path
    connection: str | None = None

    def read(self, query: str) -> list[tuple[Any, ...]]:
        if self.connection:
            import psycopg

            with psycopg.connect(self.connection) as server:
                return list(server.execute(query))  # type: ignore[call-overload]
        file = self.directory / "state.sqlite"
        if not file.exists():
            return []
        with closing(
            sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=30)
        ) as database:
            return list(database.execute(query))

    def clear(self) -> None:
        """Delete all data, if the database is on a server."""
        if self.connection:
            import psycopg

            with psycopg.connect(self.connection) as server:
                server.execute("TRUNCATE ledger, lease, run, run_item, backup, logbooks CASCADE")

    def size(self) -> int:
        """The size of the state database in bytes."""
        if self.connection:
            tables = "ledger, lease, run, run_item, backup, logbooks, flowdetails, atomdetails"
            sums = (
                f"SELECT coalesce(sum(pg_column_size({name}.*)), 0) FROM {name}"
                for name in tables.split(", ")
            )
            return sum(int(self.read(query)[0][0]) for query in sums)
        file = self.directory / "state.sqlite"
        if not file.exists():
            return 0
        with closing(sqlite3.connect(file, timeout=30)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        files = (file, file.with_name(f"{file.name}-wal"))
        return sum(each.stat().st_size for each in files if each.exists())

    def runs(self) -> list[str]:
        """The runs that have not ended."""
        return [str(row[0]) for row in self.read(_LOOKS["run"])]

    def runs_of(self, volume: str) -> list[str]:
        """The runs of a volume that have not ended."""
        found = self.read(
            "SELECT run.id FROM run JOIN run_item ON run_item.run_id = run.id "
            f"WHERE run.state IN ('RUNNING', 'SUSPENDED') AND run_item.key = '{volume}'"
        )
        return [str(row[0]) for row in found]

    def newest(self, volume: str) -> tuple[str, dict[str, Any]]:
        """The newest run of a volume, and the volume's result in it."""
        rows = self.read(
            "SELECT run.id, run_item.result FROM run JOIN run_item ON run_item.run_id = run.id "
            f"WHERE run_item.key = '{volume}' ORDER BY run.created_at DESC LIMIT 1"
        )
        ((run, result),) = rows
        return str(run), json.loads(result) if isinstance(result, str) else result

    def ledger(self) -> list[tuple[Any, ...]]:
        """Resources that may still exist: tag, state, reason."""
        return self.read(_LOOKS["ledger"])

    def findings(self) -> Iterator[Finding]:
        """All open runs and resources."""
        for name, query in _LOOKS.items():
            for row in self.read(query):
                yield Finding("state database", f"{name}: {' '.join(map(str, row))}")


def audited(state_reader: StateReader, **arguments: Any) -> Auditor:
    """An auditor that reads the state with state_reader, on any kind of database."""

    class Reader(Auditor):
        def _databases(self) -> Iterator[Finding]:
            yield from state_reader.findings()

    return Reader(**arguments)
