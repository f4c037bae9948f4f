"""The catalogue: a cache of the backups in the repositories, which are authoritative."""

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
    """A stored backup of one volume."""

    #: The repository's id of the snapshot.
    id: str
    #: The location of the repository, without secrets.
    repository: str
    volume_id: str
    volume_name: str
    project_id: str
    size_gib: int
    #: Aware, in UTC.
    created_at: datetime
    run_id: str
    #: The backup that this one is based on; None for a full backup.
    parent_id: str | None
    #: ``complete`` or ``partial``; ``unknown`` if it comes from the repository alone.
    outcome: str
    #: Numbers of files and bytes, by name.
    figures: dict[str, Any]


_TABLE = schema.backup
_NEWEST_FIRST = (_TABLE.c.created_at.desc(), _TABLE.c.id.desc())


class Catalogue:
    """The table ``backup``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, backup: Backup) -> None:
        """Record a backup. It replaces one with the same id in the same repository."""
        with self._database.single() as connection:
            upsert(connection, _TABLE, [asdict(backup)])

    def get(self, id_or_prefix: str, repository: str | None = None) -> Backup:
        """Return a backup by its id or the beginning of it.

        :param repository: search only this repository.
        :raises NotFound: when no backup matches.
        :raises Ambiguous: when several match, or the same id is in several repositories.
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
        :param limit: maximum number of backups.
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
        """Return the newest backup of a volume in a repository, None if it has no backup."""
        found = self.list(volume_id=volume_id, repository=repository, limit=1)
        return found[0] if found else None

    def last_of_each(self) -> Sequence[Backup]:
        """Return the newest backup of each volume in any repository."""
        newest = sa.func.row_number().over(partition_by=_TABLE.c.volume_id, order_by=_NEWEST_FIRST)
        ranked = sa.select(_TABLE, newest.label("rank")).subquery()
        query = sa.select(ranked).where(ranked.c.rank == 1).order_by(ranked.c.volume_id)
        with self._database.read() as connection:
            return [_to_backup(row) for row in connection.execute(query)]

    def remove(self, id: str, repository: str) -> None:
        """Remove a backup from the catalogue. Does nothing if it is not there."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(_TABLE).where(_TABLE.c.repository == repository, _TABLE.c.id == id)
            )

    def replace(self, repository: str, backups: Iterable[Backup]) -> None:
        """Replace all backups of a repository in the catalogue, in one transaction.

        :raises ValueError: when a backup is in another repository, or two have the same id.
        """
        rows = [asdict(backup) for backup in backups]
        if any(row["repository"] != repository for row in rows):
            raise ValueError(f"a backup is not in repository {repository!r}")
        if len({row["id"] for row in rows}) != len(rows):
            raise ValueError("two backups have the same id")
        with self._database.write() as connection:
            if connection.dialect.name == "postgresql":
                # Other writers wait, readers do not. Without this lock, two processes that rebuild
                # the catalogue would lock rows in different orders: a deadlock.
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
