"""The connection to the database: one engine, read and write transactions, clear errors."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from persistence import sqlite
from persistence.diagnosis import explain
from persistence.errors import StateError, StateUnavailable

# Enough for the threads of ten volumes in flight; more of them wait for a free one.
_POOL_SIZE = 10
_CONNECT_TIMEOUT = 15
# Seconds after which a session is looked at before it is used again, and after which it is asked.
_IDLE = 0.01
_LONG_IDLE = 30.0


def parse(url: str) -> sa.URL:
    """Parse a database URL.

    :raises StateUnavailable: when it is none.
    """
    if url.startswith("postgres://"):
        url = "postgresql" + url.removeprefix("postgres")
    try:
        parsed = sa.make_url(url)
    except (sa_exc.ArgumentError, ValueError) as error:
        # Neither the text nor the cause is shown: it may hold a password.
        raise StateUnavailable(
            "(unreadable URL)",
            "its URL cannot be parsed",
            "Write it as sqlite:////path/to/state.sqlite or postgresql://user:password@host/name; "
            "percent-encode special characters of the password.",
        ) from error.with_traceback(None)
    # Which driver a bare "postgresql" means depends on SQLAlchemy's version.
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def mask(url: sa.URL) -> str:
    """Return ``url`` as text without its password, wherever that stands."""
    hidden = {key: "hidden" for key in url.query if "pass" in key.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


class Database:
    """One database, used by all threads of this process.

    :param url: an SQLAlchemy URL.
    :raises StateUnavailable: when the URL or its driver is no good. No connection is made yet.
    """

    def __init__(self, url: str) -> None:
        parsed = parse(url)
        self.url = mask(parsed)
        self.path: Path | None = None
        self._closed = False
        self._thread = threading.local()
        self._reader: sa.Engine
        self._single: sa.Engine
        self._durable_single: sa.Engine
        try:
            if parsed.get_backend_name() == "sqlite":
                self.path = sqlite.file_of(parsed)
                if self.path is not None:
                    # A later chdir must not lead a reconnection to another file.
                    parsed = parsed.set(database=str(self.path))
                self._engine = sqlite.create_engine(parsed)
            else:
                self._engine = _server_engine(parsed)
            # How each kind of transaction begins, see sqlite._begin. Told once: to tell it to each
            # connection costs as much as a statement.
            if parsed.get_backend_name() == "sqlite":
                self._reader, self._writer, self._durable_writer = (
                    self._engine.execution_options(state_write=write, state_durable=durable)
                    for write, durable in ((False, False), (True, False), (True, True))
                )
                self._single, self._durable_single = (
                    self._engine.execution_options(
                        state_write=True, state_single=True, state_durable=durable
                    )
                    for durable in (False, True)
                )
            else:
                # A server's commit is durable anyhow. At READ COMMITTED each statement sees what
                # is committed when it begins: a transaction around those that only read would
                # change nothing, and cost two messages more.
                self._reader = self._single = self._durable_single = self._engine
                self._writer = self._durable_writer = self._engine.execution_options(
                    isolation_level="READ COMMITTED"
                )
        except ModuleNotFoundError as error:
            raise StateUnavailable(
                self.url,
                f"the Python driver {error.name} is not installed",
                "Install it: for PostgreSQL, pip install 'psycopg[binary]'.",
            ) from error
        except (ValueError, TypeError) as error:
            raise StateUnavailable(
                self.url, f"its URL has a wrong option ({error})", "Correct or remove it."
            ) from error
        except sa_exc.NoSuchModuleError as error:
            raise StateUnavailable(
                self.url,
                f"there is no database {parsed.drivername!r}",
                "Use sqlite:// or postgresql://.",
            ) from error

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self._engine.dialect.name

    @property
    def engine(self) -> sa.Engine:
        """The engine itself. Prefer :meth:`read` and :meth:`write`, which explain errors."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read; what a server answers to one statement can be newer than what it did to another.

        :raises StateUnavailable: when the database does not answer.
        """
        with self._transaction(self._reader) as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that writes; it is committed at the end, or rolled back on an error.

        :param durable: return only when the commit would survive a loss of power. A commit
            always survives the death of this process.
        :raises StateUnavailable: when the database does not answer.
        """
        engine = self._durable_writer if durable else self._writer
        with self._transaction(engine) as connection:
            yield connection

    @contextmanager
    def single(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Run statements each of which is a transaction by itself, committed when it is done.

        Meant for one: to begin and to commit costs as much again, on a server twice as much.

        :param durable: as for :meth:`write`.
        :raises StateUnavailable: when the database does not answer.
        """
        with self._transaction(self._durable_single if durable else self._single) as connection:
            yield connection

    @contextmanager
    def _transaction(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        if self._closed:
            raise StateUnavailable(self.url, "it was closed", "Open it again with State.open.")
        if getattr(self._thread, "busy", False):
            # With one connection this thread would wait for itself; on a server it would be two
            # transactions where the author thought of one.
            raise RuntimeError("a transaction inside another of the same thread")
        self._thread.busy = True
        try:
            # Nothing is to be begun or committed where each statement is a transaction by itself.
            single = engine is self._engine
            with engine.connect() as connection, nullcontext() if single else connection.begin():
                yield connection
        except sa_exc.SQLAlchemyError as error:
            meaning = explain(error, self.url, self.path)
            if meaning is error:
                raise
            raise meaning from error
        finally:
            self._thread.busy = False

    def now(self, connection: sa.Connection) -> datetime:
        """Return the time that all users of this database agree on, aware UTC.

        A server's own clock, since its clients are on several hosts; for SQLite, whose users
        share one host, that host's clock.
        """
        if self.dialect == "sqlite":
            return datetime.now(UTC)
        clock = sa.func.utc_timestamp(6) if self.dialect in ("mysql", "mariadb") else sa.func.now()
        value = connection.execute(sa.select(clock)).scalar_one()
        if not isinstance(value, datetime):
            raise StateError(f"{self.url} answers {value!r} when asked for the time")
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def close(self) -> None:
        """Close the connections. A second call does nothing."""
        self._closed = True
        self._engine.dispose()


def _server_engine(url: sa.URL) -> sa.Engine:
    arguments: dict[str, object] = {}
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        arguments["connect_timeout"] = _CONNECT_TIMEOUT
    # TaskFlow serialises with oslo on SQLite but leaves PostgreSQL to json: without this a task's
    # result with a datetime in it would be saved on one and fail on the other.
    from oslo_serialization import jsonutils

    psycopg = url.drivername == "postgresql+psycopg"
    engine = sa.create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        # The one that was used last: it needs the least looking at.
        pool_use_lifo=True,
        pool_recycle=3600,
        # A server may restart while a volume is copied for hours.
        pool_pre_ping=not psycopg,
        # A transaction of ours is always ended: there is nothing to roll back after it.
        pool_reset_on_return=None,
        # What most statements want: to change a session to and fro costs as much as one of them.
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        json_serializer=jsonutils.dumps,
        connect_args=arguments,
    )
    if psycopg:
        _look_before_use(engine)
    return engine


def _has_something_to_read(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _look_before_use(engine: sa.Engine) -> None:
    """Have sessions replaced that the server has ended.

    A server that ends a session says so, and nothing else comes unasked: there is something to be
    read then. To look costs little, and to ask the server as much as most statements; so it is
    asked only after a while, in which somebody on the way may have forgotten the session. One that
    comes back this very moment is not even looked at, for where many threads work to look changes
    threads: what ends it now can as well end it in the middle of a statement.
    """

    def returned(connection: Any, record: Any) -> None:
        record.info["returned"] = time.monotonic()

    def taken(connection: Any, record: Any, proxy: Any) -> None:
        idle = time.monotonic() - record.info.get("returned", time.monotonic())
        ended = connection.closed or (idle > _IDLE and _has_something_to_read(connection.fileno()))
        if not ended and idle > _LONG_IDLE:
            try:
                engine.dialect.do_ping(connection)
            except connection.Error:
                ended = True
        if ended:
            raise sa_exc.DisconnectionError("the server has ended this session")

    sa.event.listen(engine, "checkin", returned)
    sa.event.listen(engine, "checkout", taken)
