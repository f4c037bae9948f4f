"""The catalogue: a cache of what the repositories hold. The repositories have the last word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from persistence import prefix, schema
from persistence.database import Database
from persistence.upsert import upsert


@dataclass(frozen=True)
class Backup:
    """One volume's stored copy."""

    #: The repository's own snapshot id.
    id: str
    #: Where it is, without secrets.
    repository: str
    volume_id: str
    volume_name: str
    project_id: str
    size_gib: int
    #: Aware, in UTC.
    created_at: datetime
    run_id: str
    #: The backup that this one continues, None for a full one.
    parent_id: str | None
    #: ``complete`` or ``partial``; ``unknown`` where only the repository was left to ask.
    outcome: str
    #: What is worth knowing in numbers: files, bytes and so on.
    figures: dict[str, Any]


_TABLE = schema.backup
_NEWEST_FIRST = (_TABLE.c.created_at.desc(), _TABLE.c.id.desc())


class Catalogue:
    """The table ``backup``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, backup: Backup) -> None:
        """Record a backup; one with the same id in the same repository is replaced."""
        with self._database.single() as connection:
            upsert(connection, _TABLE, [asdict(backup)])

    def get(self, id_or_prefix: str, repository: str | None = None) -> Backup:
        """Return a backup by its id or the beginning of it.

        :param repository: look only in this one.
        :raises NotFound: when there is none.
        :raises Ambiguous: when there are several, or the same id is in several repositories.
        """
        query = sa.select(_TABLE).order_by(*_NEWEST_FIRST)
        label: sa.ColumnElement[str] = _TABLE.c.id
        if repository is not None:
            query = query.where(_TABLE.c.repository == repository)
        else:
            label = _TABLE.c.id + sa.literal(" in ", sa.String) + _TABLE.c.repository
        with self._database.read() as connection:
            row = prefix.find(
                connection, query, _TABLE.c.id, id_or_prefix, what="backup", label=label
            )
            return _to_backup(row)

    def list(
        self,
        *,
        volume_id: str | None = None,
        project_id: str | None = None,
        repository: str | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> list[Backup]:
        """Return backups, newest first.

        :param before: only those made at or before this time (aware).
        :param limit: at most so many.
        """
        query = sa.select(_TABLE).order_by(*_NEWEST_FIRST).limit(limit)
        if volume_id is not None:
            query = query.where(_TABLE.c.volume_id == volume_id)
        if project_id is not None:
            query = query.where(_TABLE.c.project_id == project_id)
        if repository is not None:
            query = query.where(_TABLE.c.repository == repository)
        if before is not None:
            query = query.where(_TABLE.c.created_at <= before)
        with self._database.read() as connection:
            return [_to_backup(row) for row in connection.execute(query)]

    def latest(self, volume_id: str, repository: str) -> Backup | None:
        """Return the newest backup of a volume in a repository, None when there is none."""
        found = self.list(volume_id=volume_id, repository=repository, limit=1)
        return found[0] if found else None

    def last_of_each(self) -> Sequence[Backup]:
        """Return the newest backup of each volume, in whatever repository it is."""
        newest = sa.func.row_number().over(partition_by=_TABLE.c.volume_id, order_by=_NEWEST_FIRST)
        ranked = sa.select(_TABLE, newest.label("rank")).subquery()
        query = sa.select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.volume_id)
        with self._database.read() as connection:
            return [_to_backup(row) for row in connection.execute(query)]

    def remove(self, id: str, repository: str) -> None:
        """Forget a backup. Nothing happens when it is not known."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(_TABLE).where(_TABLE.c.repository == repository, _TABLE.c.id == id)
            )

    def replace(self, repository: str, backups: Iterable[Backup]) -> None:
        """Forget all that is known of a repository and record ``backups``, in one transaction.

        :raises ValueError: when one of them is in another repository, or an id comes twice.
        """
        rows = [asdict(backup) for backup in backups]
        if any(row["repository"] != repository for row in rows):
            raise ValueError(f"a backup that is not in {repository!r}")
        if len({row["id"] for row in rows}) != len(rows):
            raise ValueError("a backup comes twice")
        with self._database.write() as connection:
            if connection.dialect.name == "postgresql":
                # Other writers wait, readers do not. Two who rebuild at once would lock rows in
                # different orders, and the server would end one of them as a deadlock.
                connection.execute(sa.text("LOCK TABLE backup IN SHARE ROW EXCLUSIVE MODE"))
            connection.execute(sa.delete(_TABLE).where(_TABLE.c.repository == repository))
            upsert(connection, _TABLE, rows)


def _to_backup(row: sa.Row[Any]) -> Backup:
    return Backup(
        id=row.id,
        repository=row.repository,
        volume_id=row.volume_id,
        volume_name=row.volume_name,
        project_id=row.project_id,
        size_gib=row.size_gib,
        created_at=row.created_at,
        run_id=row.run_id,
        parent_id=row.parent_id,
        outcome=row.outcome,
        figures=row.figures,
    )
