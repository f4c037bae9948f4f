"""doctor reports backups whose time cannot be right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from volflow.api import doctor
from volflow.errors import RepositoryError
from volflow.movers.base import StoredBackup


def context(*stored: StoredBackup) -> Any:
    mover = SimpleNamespace(
        location="here", backups=lambda: list(stored), check_writable=lambda: None
    )
    return cast(Any, SimpleNamespace(repositories=SimpleNamespace(of=lambda: mover)))


def test_a_backup_of_the_future_is_no_good_repository() -> None:
    now = datetime.now(UTC)
    sane = StoredBackup("a" * 64, now, {"volume": "v", "name": "n"})
    assert doctor._repository(context(sane)) == "here holds 1 backups"
    later = (now + timedelta(days=2)).isoformat()
    odd = StoredBackup("b" * 64, now, {"volume": "v", "name": "n", "taken": later})
    with pytest.raises(RepositoryError, match=r"Backup bbbbbbbb of n is of the future"):
        doctor._repository(context(sane, odd))
