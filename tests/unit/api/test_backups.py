"""Who looks for a backup needs no cloud."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from volflow.api.backups import BackupApi
from volflow.cloud import patience
from volflow.cloud.patience import Patience
from volflow.errors import UnavailableError
from volflow.movers.base import StoredBackup


def test_a_name_is_found_at_once_while_the_cloud_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> NoReturn:
        raise UnavailableError("The API cannot be reached.")

    def rest(*_: Any) -> NoReturn:
        pytest.fail("it waits for the cloud")

    monkeypatch.setattr(patience, "_rest", rest)
    waiting = Patience(300.0)
    volumes = SimpleNamespace(existing=lambda volume_id: waiting.repeat(away))
    cloud = SimpleNamespace(cinder=SimpleNamespace(volumes=volumes))
    now = datetime.now(UTC)
    old, new = (
        StoredBackup(letter * 64, now - timedelta(days=days), {"volume": letter, "name": "notes"})
        for letter, days in (("a", 2), ("b", 1))
    )
    found = BackupApi(cast(Any, SimpleNamespace(cloud=cloud))).find("notes", among=[old, new])
    assert found is new
