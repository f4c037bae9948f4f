"""The application on the server: a shop that constantly writes orders into a SQLite database.

As a program, ``orders.py take FILE`` takes one order after the other and commits each, so that it
is on the volume before the next one; ``orders.py count FILE`` prints the number of orders.
It needs only the standard library.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

DIRECTORY = "orders"
FILE = f"{DIRECTORY}/orders.sqlite"
# Seconds from one order to the next.
_PAUSE = 0.005


def take(database: Path) -> None:
    """Take orders until SIGTERM."""
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, content TEXT)")
        print("open", flush=True)
        number = 0
        while not stopped:
            number += 1
            connection.execute("INSERT INTO orders VALUES (?, ?)", (number, _content(number)))
            time.sleep(_PAUSE)


def count(database: Path) -> int:
    """The number of committed orders."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM orders").fetchone()[0])


def examine(directory: Path) -> tuple[int, str]:
    """The number of orders in a copy of the database, and what is wrong with it, or "".

    It examines a copy of the copy, because SQLite writes when it opens a database that was in use.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "copy"
        shutil.copytree(directory, copy)
        try:
            with closing(sqlite3.connect(copy / Path(FILE).name)) as connection:
                said = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
                rows = connection.execute("SELECT * FROM orders ORDER BY number").fetchall()
        except sqlite3.Error as error:
            return 0, str(error)
    if said != "ok":
        return len(rows), said
    wrong = [n for n, row in enumerate(rows, start=1) if row != (n, _content(n))]
    return len(rows), f"order {wrong[0]} has changed" if wrong else ""


def _content(number: int) -> str:
    """The content of order N, which nothing else can produce."""
    return hashlib.sha256(str(number).encode()).hexdigest() * 4


if __name__ == "__main__":
    if sys.argv[1] == "take":
        take(Path(sys.argv[2]))
    else:
        print(count(Path(sys.argv[2])))
