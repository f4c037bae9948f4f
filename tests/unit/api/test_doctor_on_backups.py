"""doctor reports a repository that is full, and backups whose time cannot be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.api import doctor
from volflow.disk import full
from volflow.disk.full import Room
from volflow.errors import RepositoryError
from volflow.movers.base import StoredBackup


def context(*stored: StoredBackup) -> Any:
    mover = SimpleNamespace(
        location="here",
        backups=lambda: list(stored),
        check_writable=lambda: None,
        local_path=Path("/here"),
    )
    return cast(
        Any,
        SimpleNamespace(
            repositories=SimpleNamespace(of=lambda: mover), host=SimpleNamespace(privilege=None)
        ),
    )


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> list[Room]:
    """What the file system of the repository can take; a test may change it."""
    found = [Room(2**40)]
    monkeypatch.setattr(full, "look", lambda privilege, directories: found)
    return found


def test_a_backup_of_the_future_is_no_good_repository() -> None:
    now = datetime.now(UTC)
    sane = StoredBackup("a" * 64, now, {"volume": "v", "name": "n"})
    assert doctor._repository(context(sane)) == "here holds 1 backup"
    later = (now + timedelta(days=2)).isoformat()
    odd = StoredBackup("b" * 64, now, {"volume": "v", "name": "n", "taken": later})
    with pytest.raises(RepositoryError, match=r"Backup bbbbbbbb of n is of the future"):
        doctor._repository(context(sane, odd))


@pytest.mark.parametrize("free", [0, 14 * 2**20])
def test_a_repository_in_which_nothing_fits_is_not_good(room: list[Room], free: int) -> None:
    room[:] = [Room(free)]
    with pytest.raises(RepositoryError, match=r"here is full.*A backup needs at least 64 MiB"):
        doctor._repository(context())
    room[:] = [Room(2**30)]
    assert doctor._repository(context()) == "here holds 0 backups"
