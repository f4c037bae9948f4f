"""The state of all runs: the object that the rest of a program uses."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from persistence import migrations, sqlite
from persistence.catalogue import Catalogue
from persistence.database import Database
from persistence.errors import SchemaOutOfDate
from persistence.leases import Leases
from persistence.ledger import Ledger
from persistence.retention import Retention
from persistence.runs import Runs

if TYPE_CHECKING:
    from persistence.backend import TaskflowBackend


class State:
    """An open state database. Threads may share it; make it with :meth:`open`.

    :ivar runs: the runs and their items.
    :ivar ledger: the temporary resources.
    :ivar catalogue: the backups in the repositories.
    :ivar leases: which process drives which run.
    :ivar retention: deletes old runs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.runs = Runs(database)
        self.ledger = Ledger(database)
        self.catalogue = Catalogue(database)
        self.leases = Leases(database)
        self.retention = Retention(database)

    @classmethod
    def open(cls, url: str, *, migrate: bool | None = None) -> Self:
        """Open the database. Creates an SQLite file that does not exist yet.

        :param url: an SQLAlchemy URL: ``sqlite:////var/lib/...`` (a file only for its owner) or
            ``postgresql://user:password@host/name``.
        :param migrate: whether to update its tables. By default only for SQLite, which belongs to
            one host, and not for a server, which others may be using.
        :raises StateUnavailable: when it cannot be reached, read or written.
        :raises SchemaOutOfDate: when its tables are of another release and may not be migrated.
        """
        database = Database(url)
        try:
            automatic = database.dialect == "sqlite" if migrate is None else migrate
            if database.path is not None:
                sqlite.prepare(database.path, create=automatic)
            with database.read() as connection:
                found = migrations.current(connection)
            if found != migrations.HEAD:
                if not automatic:
                    raise SchemaOutOfDate(database.url, found, migrations.HEAD)
                migrations.upgrade(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @staticmethod
    def migrate(url: str) -> None:
        """Create the tables, or update them. Several processes may do so at once.

        :raises StateUnavailable: when the database cannot be reached, read or written.
        :raises SchemaOutOfDate: when a newer release made them.
        """
        State.open(url, migrate=True).close()

    @property
    def url(self) -> str:
        """The URL of the database, with the password masked."""
        return self._database.url

    @cached_property
    def taskflow(self) -> TaskflowBackend:
        """The persistence backend for TaskFlow's engines; all of them may share it."""
        # Most commands only list something, and need not wait for the import of TaskFlow.
        from persistence.backend import TaskflowBackend

        return TaskflowBackend(self._database)

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
