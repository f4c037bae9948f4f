"""The result of a volume that was deleted before its backup began."""

from __future__ import annotations

import secrets
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from taskflow.persistence import models
from taskflow.types.failure import Failure

from persistence import ItemState, State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow import logs
from volflow.errors import CloudError, SourceDeletedError, StoppedError, VolflowError
from volflow.flows.graph import Component
from volflow.flows.volume import volume_flow
from volflow.results import stored
from volflow.results.outcome import Outcome, VolumeResult
from volflow.results.request import BackupRequest, Request, RestoreRequest
from volflow.runs.engine import load
from volflow.runs.lease import RunLease
from volflow.runs.volume_result import _fetched, volume_result
from volflow.tasks.base import Step
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.work import Work

WHY = "was deleted before its backup began"


class Look(Step):
    """The first step of a flow; it fails."""

    step = "read properties"
    default_provides = "file_system"

    def __init__(self, work: Work, error: VolflowError) -> None:
        super().__init__(work)
        self._error = error

    def execute(self) -> None:
        raise self._error


class FailedVolume:
    """A volume whose flow has failed in an earlier process."""

    def __init__(self, directory: Path, error: VolflowError) -> None:
        self.url = f"sqlite:///{directory / 'state.sqlite'}"
        with State.open(self.url) as state:
            detail, book = models.FlowDetail("flow", "flow-id"), models.LogBook("book", "book-id")
            book.add(detail)
            state.taskflow.get_connection().save_logbook(book)
            items = [("volume", "name")]
            self.run_id = state.runs.create("backup", {}, items, host="h", boot_id="b", pid=1).id
            self.component = self._component(state, error)
            with logs.about("run-id"), pytest.raises(VolflowError):
                self._engine(state).run()

    def _component(self, state: State, error: VolflowError) -> Component:
        self.work = work_of(state, FakeClient(), "volume", self.run_id)
        flow = volume_flow(self.work, "backup").add(Look(self.work, error))
        return Component(["volume"], [], [lambda *, undo=False: flow])

    def _engine(self, state: State) -> Any:
        detail = state.taskflow.get_connection().get_flow_details("flow-id")
        hold = RunLease(state.leases, secrets.token_hex(4))
        engine = load(self.component.flow, detail, state, None, hold, lambda *_: None)
        engine.compile()
        engine.prepare()
        return engine

    def result(self, request: Request, *, leftover: bool = False) -> VolumeResult:
        """The result, as another process reads it."""
        with State.open(self.url) as state:
            self.component = self._component(state, CloudError("not used"))
            if leftover:
                Snapshot(self.work).intend(volume_id="volume")
                state.ledger.leftover(self.work.tag(Snapshot.kind), "busy")
            work = SimpleNamespace(request=request, services=self.work.services, run_id=self.run_id)
            storage = self._engine(state).storage
            return volume_result(cast(Any, work), self.component, storage, "volume")


FOUND = BackupRequest(by_filter=True)
DELETED = SourceDeletedError("Volume volume is gone.")


def test_a_volume_that_was_found_and_then_deleted_is_left_out(tmp_path: Path) -> None:
    result = FailedVolume(tmp_path, DELETED).result(FOUND)
    assert (result.outcome, result.error) == (Outcome.LEFT_OUT, WHY)


@pytest.mark.parametrize(
    ("error", "request_"),
    [
        pytest.param(DELETED, BackupRequest(), id="named"),
        pytest.param(DELETED, RestoreRequest(), id="restore"),
        pytest.param(CloudError("no"), FOUND, id="another error"),
    ],
)
def test_any_other_failure_is_one(tmp_path: Path, error: VolflowError, request_: Request) -> None:
    if isinstance(request_, RestoreRequest):
        request_ = RestoreRequest(backups={"volume": "backup"})
    result = FailedVolume(tmp_path, error).result(request_)
    assert (result.outcome, result.error) == (Outcome.FAILED, str(error))


def test_an_interrupted_volume_of_an_aborted_run_did_not_fail_by_itself(tmp_path: Path) -> None:
    result = FailedVolume(tmp_path, StoppedError("restic backup was stopped.")).result(FOUND)
    assert (result.outcome, result.error) == (Outcome.FAILED, "The run was aborted.")


def test_a_deleted_volume_with_a_leftover_is_a_failure(tmp_path: Path) -> None:
    result = FailedVolume(tmp_path, DELETED).result(FOUND, leftover=True)
    assert result.outcome is Outcome.FAILED
    assert len(result.leftovers) == 1


def test_a_run_tells_a_deleted_volume_among_those_left_out_and_is_complete(tmp_path: Path) -> None:
    with State.open(f"sqlite:///{tmp_path / 'state.sqlite'}") as state:
        volumes = [("a", "one"), ("b", "two")]
        request = BackupRequest(by_filter=True).to_dict()
        run = state.runs.create("backup", request, volumes, host="h", boot_id="b", pid=1)
        for key, outcome in (("a", Outcome.COMPLETE), ("b", Outcome.LEFT_OUT)):
            error = WHY if outcome is Outcome.LEFT_OUT else None
            result = VolumeResult(key, dict(volumes)[key], outcome, error=error)
            state.runs.update_item(
                run.id, key, state=ItemState(outcome.name), result=result.to_dict()
            )
        items = state.runs.items(run.id)
        assert all(item.state.final for item in items)
        assert [stored.state(item, driven=False) for item in items] == ["complete", "left out"]
        told = stored.run_result(run, items)
    assert [volume.volume_id for volume in told.volumes] == ["a"]
    (left,) = told.left_out
    assert (left.volume_id, left.name, left.reason) == ("b", "two", WHY)
    assert told.outcome is Outcome.COMPLETE
    assert told.outcome.exit_status == 0


def test_the_result_of_a_step_that_failed_is_none() -> None:
    """TaskFlow returns the failure in its place."""
    try:
        raise ValueError("failed")
    except ValueError:
        failure = Failure()
    storage = cast(Any, SimpleNamespace(fetch=lambda symbol: failure))
    assert _fetched(storage, "file_system", {}) == {}
