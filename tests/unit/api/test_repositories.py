"""Which unfinished copies pruning removes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import RunState, State
from volflow.api.repositories import RepositoryApi
from volflow.movers.base import StoredBackup


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.sqlite", migrate=True) as found:
        yield found


def copy(run: str, *, hours: float) -> StoredBackup:
    tags = {"run": run, "volume": "v", "state": "unchecked"}
    return StoredBackup("copy", datetime.now(UTC) - timedelta(hours=hours), tags)


def test_an_unfinished_copy_goes_when_its_run_has_ended_or_is_unknown_for_a_day(
    state: State,
) -> None:
    api = RepositoryApi(cast(Any, SimpleNamespace(state=state)))
    runs = [
        state.runs.create("backup", {}, [("v", "n")], host="h", boot_id="b", pid=1).id
        for _ in range(2)
    ]
    state.runs.update(runs[0], state=RunState.FAILED)
    state.runs.update(runs[1], state=RunState.SUSPENDED)
    assert api._abandoned(copy(runs[0], hours=0))
    # It may be resumed.
    assert not api._abandoned(copy(runs[1], hours=1000))
    # Another host may be storing it.
    assert not api._abandoned(copy("of another host", hours=1))
    assert api._abandoned(copy("of another host", hours=25))
