"""A PostgreSQL server with databases for the state, as an operator makes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Where the helper is that starts the server.
sys.path.append(str(Path(__file__).resolve().parents[1] / "unit/persistence"))


@contextmanager
def databases(count: int) -> Iterator[list[str]]:
    """URLs of so many databases with the tables of volflow, as long as the block runs."""
    import postgresql_server
    import psycopg

    from persistence import State

    with postgresql_server.running() as url:
        urls = []
        for number in range(count):
            name = f"state{number}"
            with psycopg.connect(url, autocommit=True) as server:
                server.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
            urls.append(f"{url.rpartition('/')[0]}/{name}")
            State.migrate(urls[-1])
        yield urls
