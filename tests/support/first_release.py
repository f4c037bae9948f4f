"""A state database of release 0.1.0, with runs that later releases must be able to continue.

``data/state-0.1.0.sql`` is a dump of a database that 0.1.0 wrote on a lab. Ids, host names, paths
and dates are replaced. It holds backups and restores that ended, a backup whose process was killed
before its copy, and a restore and a group backup that were suspended before theirs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

# Ids of the runs.
COMPLETE_BACKUP = "f0000001-0000-4000-8000-000000000000"
COMPLETE_BACKUP_OF_THIRD = "f0000002-0000-4000-8000-000000000000"
COMPLETE_RESTORE = "f0000003-0000-4000-8000-000000000000"
FAILED_BACKUP = "f0000004-0000-4000-8000-000000000000"
KILLED_BACKUP = "f0000005-0000-4000-8000-000000000000"
SUSPENDED_RESTORE = "f0000006-0000-4000-8000-000000000000"
SUSPENDED_GROUP_BACKUP = "f0000007-0000-4000-8000-000000000000"

PROJECT = "1ab00000000000000000000000000001"
REPOSITORY = "/srv/volflow/repository"
HOST = "host-a"

# The resources that the killed backup had made.
SECOND = "a0000002-0000-4000-8000-000000000000"
SNAPSHOT = "0000004e-0000-4000-8000-000000000000"
TEMPORARY_VOLUME = "00000050-0000-4000-8000-000000000000"
BACKUP_ATTACHMENT = "00000052-0000-4000-8000-000000000000"

# The resources of the suspended restore, which was a restore in place.
THIRD = "a0000003-0000-4000-8000-000000000000"
BACKUP_OF_THIRD = f"ba000002{'0' * 56}"
SAFETY_SNAPSHOT = "00000060-0000-4000-8000-000000000000"
RESTORE_ATTACHMENT = "00000062-0000-4000-8000-000000000000"

_DUMP = Path(__file__).parent / "data" / "state-0.1.0.sql"


def load(file: Path, changes: Mapping[str, str] | None = None, *, only: str | None = None) -> None:
    """Write the database to a file.

    :param changes: replacements for ids and names
    :param only: the one run to keep
    """
    text = _DUMP.read_text()
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(mode=0o600)
    with closing(sqlite3.connect(file)) as database:
        database.executescript(text)
        if only is not None:
            for table, column in (("run_item", "run_id"), ("ledger", "run_id"), ("run", "id")):
                database.execute(f"DELETE FROM {table} WHERE {column} != ?", (only,))
            database.execute("DELETE FROM lease WHERE name != ?", (f"run {only}",))
            database.commit()
