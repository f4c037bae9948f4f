"""The site from which tests of refusals start, and the check that nothing was made."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.site import Site


@dataclass
class Ground:
    """A site with a volume that could be backed up, and a backup of it.

    :ivar database: Cinder's own database, which also keeps deleted resources
    """

    site: Site
    volume: str
    backup: str
    database: Path

    def made(self) -> dict[str, list[Any]]:
        """Every resource that Cinder ever had, including deleted ones, and its state."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
            return {
                table: database.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()
                for table, columns in (
                    ("volumes", "id, status, display_name, deleted"),
                    ("snapshots", "id, status, deleted"),
                    ("volume_attachment", "id, deleted"),
                    ("volume_metadata", "id, key, value, deleted"),
                )
            }

    def refused(
        self, *arguments: str, says: str, status: int = 1, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command that must do nothing and report why.

        :param says: a regular expression that its one message must match
        """
        before, runs = self.made(), self._runs()
        done = self.site.cli(*arguments, **more)
        told = done.stderr.strip()
        assert done.returncode == status, done
        assert done.stdout == ""
        assert len(told.splitlines()) == 1, told
        assert re.search(says, told), told
        assert self.made() == before
        assert self._runs() == runs
        assert list((self.site.repository / "locks").iterdir()) == []
        return done

    def _runs(self) -> int:
        file = self.site.state / "state.sqlite"
        if not file.exists():
            return 0
        with closing(sqlite3.connect(file)) as database:
            return int(database.execute("SELECT count(*) FROM run").fetchone()[0])
