"""Leases: they let only one process at a time do something, and expire if it dies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from persistence import schema
from persistence.database import Database
from persistence.errors import Held


@dataclass(frozen=True)
class Lease:
    """An exclusive right for a limited time."""

    name: str
    owner: str
    #: Its duration, and that of each renewal.
    seconds: float
    #: When it ends unless it is renewed; aware UTC, by the database's clock.
    until: datetime


_TABLE = schema.lease


class Leases:
    """The table ``lease``.

    Times are compared by the clock of the database server, because the clocks of its clients
    differ. For SQLite it is the clock of this host, which all users of the file share. Renew a
    lease well before its end, for example after a third of its duration.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, owner: str, seconds: float) -> Lease:
        """Take a lease that is free or has expired, or extend the owner's own lease.

        :param owner: identifies one process, not only a host.
        :param seconds: how long it lasts.
        :raises Held: when another owner has it.
        :raises ValueError: when the duration is not positive.
        """
        if seconds <= 0:
            raise ValueError(f"a lease cannot last {seconds} seconds")
        with self._database.write(durable=True) as connection:
            now = self._database.now(connection)
            until = now + timedelta(seconds=seconds)
            # One conditional UPDATE: of several processes only one succeeds, the others find the
            # row changed. The primary key does the same for INSERT.
            free = sa.or_(_TABLE.c.owner == owner, _TABLE.c.until <= now)
            take = sa.update(_TABLE).where(_TABLE.c.name == name, free)
            values = {"owner": owner, "seconds": seconds, "until": until}
            while connection.execute(take.values(values)).rowcount == 0:
                if _insert(connection, values | {"name": name}):
                    break
                held = _held(connection, name)
                # It was released in the meantime. Try again.
                if held.owner is not None:
                    raise held
        return Lease(name=name, owner=owner, seconds=seconds, until=until)

    def renew(self, lease: Lease) -> Lease:
        """Extend a lease: its full duration from now.

        An expired lease is renewed too, unless another owner has taken it.

        :raises Held: when it was lost: stop what it protects.
        """
        with self._database.write() as connection:
            until = self._database.now(connection) + timedelta(seconds=lease.seconds)
            renewed = connection.execute(
                sa.update(_TABLE)
                .where(_TABLE.c.name == lease.name, _TABLE.c.owner == lease.owner)
                .values(until=until)
            )
            if renewed.rowcount == 0:
                raise _held(connection, lease.name)
        return Lease(name=lease.name, owner=lease.owner, seconds=lease.seconds, until=until)

    def release(self, lease: Lease) -> None:
        """Release a lease. Does nothing if it was lost or released already."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(_TABLE).where(_TABLE.c.name == lease.name, _TABLE.c.owner == lease.owner)
            )

    def holder(self, name: str) -> Lease | None:
        """Return a lease; None if it has no owner or has expired."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            query = sa.select(_TABLE).where(_TABLE.c.name == name, _TABLE.c.until > now)
            row = connection.execute(query).first()
        if row is None:
            return None
        return Lease(name=name, owner=row.owner, seconds=row.seconds, until=row.until)


def _insert(connection: sa.Connection, values: dict[str, object]) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(_TABLE).values(values))
    except sa_exc.IntegrityError:
        return False
    return True


def _held(connection: sa.Connection, name: str) -> Held:
    row = connection.execute(sa.select(_TABLE).where(_TABLE.c.name == name)).first()
    return Held(name, None, None) if row is None else Held(name, row.owner, row.until)
