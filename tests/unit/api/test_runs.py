"""A timer continues what was interrupted, and leaves alone what a person has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import Run, RunState, State
from volflow.api.runs import RunApi
from volflow.results.holdings import Holdings
from volflow.results.outcome import RunResult
from volflow.results.request import BackupRequest
from volflow.stop import Stop

HELD_AT = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as found:
        yield found


def suspended(database: State, **fields: Any) -> Run:
    request = BackupRequest(sizes={"volume": 10}).to_dict()
    items = [("volume", "")]
    run = database.runs.create("backup", request, items, host="h", boot_id="b", pid=1)
    return database.runs.update(run.id, **{"state": RunState.SUSPENDED, **fields})


def test_resume_all_continues_only_what_no_person_has_stopped(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = suspended(state, state=RunState.RUNNING)
    held = suspended(state, held_at=HELD_AT)
    # Its process was killed before it could suspend the run.
    killed = suspended(state, state=RunState.RUNNING, held_at=HELD_AT)
    terminated = suspended(state)
    runs = RunApi(cast(Any, SimpleNamespace(state=state, stop=Stop())))
    monkeypatch.setattr(runs, "resume", lambda run_id: RunResult(run_id, "backup", ()))
    resumed = [one.run.id for one in runs.resume_all()]
    assert resumed == [interrupted.id, terminated.id]
    assert [run.id for run in runs.held()] == [held.id, killed.id]
    states = [runs.status(run) for run in (interrupted, held, killed, terminated)]
    assert states == ["interrupted", "held", "held", "suspended"]


def test_an_ended_run_is_not_held(state: State) -> None:
    run = suspended(state, held_at=HELD_AT, state=RunState.COMPLETE)
    runs = RunApi(cast(Any, SimpleNamespace(state=state, stop=Stop())))
    assert runs.held() == []
    assert runs.status(run) == "complete"


def test_what_a_run_holds_comes_from_its_ledger(state: State) -> None:
    run = suspended(state, held_at=HELD_AT)
    runs = RunApi(cast(Any, SimpleNamespace(state=state, stop=Stop())))
    assert not runs.holdings(run)
    for kind in ("snapshot", "volume", "attachment", "device"):
        tag = f"{run.id}/volume/{kind}"
        state.ledger.intend(tag, run_id=run.id, item="volume", kind=kind)
    state.ledger.gone(f"{run.id}/volume/device")
    assert runs.holdings(run) == Holdings(volumes=1, snapshots=1, attachments=1, gib=20)
