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

# Enough for the threads of ten volumes in parallel; more threads wait for a free connection.
_POOL_SIZE = 10
_CONNECT_TIMEOUT = 15
# Seconds of idleness after which a connection's socket is checked before use, and after which the
# server is queried.
_IDLE = 0.01
_LONG_IDLE = 30.0


def parse(url: str) -> sa.URL:
    """Parse a database URL.

    :raises StateUnavailable: when it is not a database URL.
    """
    if url.startswith("postgres://"):
        url = "postgresql" + url.removeprefix("postgres")
    try:
        parsed = sa.make_url(url)
    except (sa_exc.ArgumentError, ValueError) as error:
        # Show neither the text nor the cause: they may contain a password.
        raise StateUnavailable(
            "(unreadable URL)",
            "its URL cannot be parsed",
            "Write it as sqlite:////path/to/state.sqlite or postgresql://user:password@host/name; "
            "percent-encode special characters of the password.",
        ) from error.with_traceback(None)
    # The driver of a bare "postgresql" depends on the version of SQLAlchemy.
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def mask(url: sa.URL) -> str:
    """Return a URL as text without its password, also if the password is in the query."""
    hidden = {key: "hidden" for key in url.query if "pass" in key.lower()}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


class Database:
    """A database that all threads of this process use.

    :param url: an SQLAlchemy URL.
    :raises StateUnavailable: when the URL is wrong or its driver is missing. Does not connect yet.
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
                    # A later chdir must not make a reconnection open another file.
                    parsed = parsed.set(database=str(self.path))
                self._engine = sqlite.create_engine(parsed)
            else:
                self._engine = _server_engine(parsed)
            # How each kind of transaction begins, see sqlite._begin. Set once, because setting
            # it on each connection costs as much as a statement.
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
                # A server's commit is always durable. At READ COMMITTED each statement sees what
                # is committed when it begins: a transaction around reads would change nothing,
                # and cost two more messages.
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
                f"{parsed.drivername!r} is not a supported database",
                "Use sqlite:// or postgresql://.",
            ) from error

    @property
    def dialect(self) -> str:
        """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
        return self._engine.dialect.name

    @property
    def engine(self) -> sa.Engine:
        """The engine. Prefer :meth:`read` and :meth:`write`, which explain errors."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read. On a server, a later statement can see newer data than an earlier one.

        :raises StateUnavailable: when the database does not answer.
        """
        with self._transaction(self._reader) as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Open a write transaction: committed at the end, or rolled back on an error.

        :param durable: return only when the commit survives a loss of power. A commit always
            survives the death of this process.
        :raises StateUnavailable: when the database does not answer.
        """
        engine = self._durable_writer if durable else self._writer
        with self._transaction(engine) as connection:
            yield connection

    @contextmanager
    def single(self, *, durable: bool = False) -> Iterator[sa.Connection]:
        """Run statements that are each a transaction of their own.

        Meant for single statements: BEGIN and COMMIT cost as much as the statement, and on a
        server twice as much.

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
            # With one connection this thread would wait for itself. On a server there would be
            # two transactions where the author expected one.
            raise RuntimeError("a transaction inside another of the same thread")
        self._thread.busy = True
        try:
            # Each statement is a transaction of its own: nothing to begin or commit.
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
        """Return the time that all users of this database share, aware UTC.

        This is the clock of the server, because its clients are on several hosts. The users of an
        SQLite file share one host, so for SQLite it is the clock of that host.
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
    # TaskFlow serializes with oslo on SQLite, and with json on PostgreSQL. Without this a result
    # that contains a datetime could be saved on SQLite, but not on PostgreSQL.
    from oslo_serialization import jsonutils

    psycopg = url.drivername == "postgresql+psycopg"
    engine = sa.create_engine(
        url,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_SIZE,
        # Reuse the last connection: it needs a check least often.
        pool_use_lifo=True,
        pool_recycle=3600,
        # A server may restart while a volume is copied for hours.
        pool_pre_ping=not psycopg,
        # Transactions are always ended explicitly: a rollback on return is not needed.
        pool_reset_on_return=None,
        # Most statements need this, and changing a session to and fro costs as much as a statement.
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
    """Replace the sessions that the server has ended.

    A server that ends a session sends a message, and it sends nothing else without a request. So
    if the socket has data to read, the session has ended. Checking the socket is cheap; a query
    costs as much as most statements. So the server is queried only after a longer time, in which
    for example a firewall may have dropped the connection. A connection that was in use a moment
    ago is not checked at all: with many threads, even the check of the socket switches threads, and
    the server could just as well end the session during the next statement.
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
