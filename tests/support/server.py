"""A PostgreSQL server with databases for the state, as an operator makes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def databases(count: int) -> Iterator[list[str]]:
    """URLs of so many databases with the tables of volflow, as long as the block runs."""
    import psycopg

    from persistence import State
    from tests.support import postgresql as postgresql_server

    with postgresql_server.running() as url:
        urls = []
        for number in range(count):
            name = f"state{number}"
            with psycopg.connect(url, autocommit=True) as server:
                server.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
            urls.append(f"{url.rpartition('/')[0]}/{name}")
            State.migrate(urls[-1])
        yield urls
