"""Warnings of a dry run about the room in a repository, and a list of the backups of no volume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volflow.cli.backup import _warning

MIB = 2**20


@pytest.mark.parametrize(
    ("free", "first", "says"),
    [
        (14 * MIB, 0, "too little for any backup"),
        (14 * MIB, 1, "too little for any backup"),
        (100 * MIB, 0, ""),
        (100 * MIB, 1, "may be too little"),
        (1024 * MIB, 1, ""),
    ],
)
def test_too_little_room_is_told(free: int, first: int, says: str) -> None:
    found = _warning(free, first, 64 * MIB)
    assert says in found
    assert bool(found) == bool(says)


def test_a_list_of_the_backups_of_an_unknown_volume_is_an_error(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    environment = os.environ | {
        "OS_REPOSITORY__LOCATION": str(tmp_path / "repository"),
        "OS_REPOSITORY__PASSWORD_FILE": str(password),
        "OS_DEFAULT__STATE_DIR": str(tmp_path / "state"),
    }

    def volflow(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "volflow.cli.main", *command],
            env=environment,
            capture_output=True,
            text=True,
        )

    assert volflow("repository", "init").returncode == 0
    done = volflow("backup", "list", "--volume", "nosuch")
    assert done.returncode == 1
    assert "no volume with a backup, has the id or name 'nosuch'" in done.stderr
    assert volflow("backup", "list").returncode == 0
