"""Leases: at most one process at a time does something, and a dead one is found out."""

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
    """The right to be the only one, for a time."""

    name: str
    owner: str
    #: Its length, and what a renewal adds from then on.
    seconds: float
    #: When it ends unless it is renewed; aware UTC, by the database's clock.
    until: datetime


_TABLE = schema.lease


class Leases:
    """The table ``lease``.

    Times are compared by the database server's clock, since its clients' clocks differ; with
    SQLite by this host's, which all users of the file share. Renew well before the end: every
    third of the length, say.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, owner: str, seconds: float) -> Lease:
        """Take a lease that is free or has run out; the same owner's is extended.

        :param owner: who takes it; unique to a process, not only to a host.
        :param seconds: how long it lasts.
        :raises Held: when somebody else has it.
        :raises ValueError: when it would not last at all.
        """
        if seconds <= 0:
            raise ValueError(f"a lease of {seconds} seconds")
        with self._database.write(durable=True) as connection:
            now = self._database.now(connection)
            until = now + timedelta(seconds=seconds)
            # One conditional UPDATE: the database lets one of several at once through, and the
            # others find the row changed. The same goes for INSERT and the primary key.
            free = sa.or_(_TABLE.c.owner == owner, _TABLE.c.until <= now)
            take = sa.update(_TABLE).where(_TABLE.c.name == name, free)
            values = {"owner": owner, "seconds": seconds, "until": until}
            while connection.execute(take.values(values)).rowcount == 0:
                if _insert(connection, values | {"name": name}):
                    break
                held = _held(connection, name)
                # Nobody has it: it was given back since we looked. Try again.
                if held.owner is not None:
                    raise held
        return Lease(name=name, owner=owner, seconds=seconds, until=until)

    def renew(self, lease: Lease) -> Lease:
        """Extend a lease by its length from now.

        One that has run out is renewed too, as long as nobody else took it in between.

        :raises Held: when it was lost: stop what it stands for.
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
        """Give a lease back. Nothing happens when it was lost or given back already."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(_TABLE).where(_TABLE.c.name == lease.name, _TABLE.c.owner == lease.owner)
            )

    def holder(self, name: str) -> Lease | None:
        """Return a lease as its owner has it; None when nobody has it, or it has run out."""
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
