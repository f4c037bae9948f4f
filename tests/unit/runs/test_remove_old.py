"""What volflow reports about an old volume is true, whatever Cinder answers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from volflow.errors import CloudError, ResourceNotFoundError, UnavailableError
from volflow.results.outcome import Outcome, RunResult, VolumeResult
from volflow.results.request import RequestedTarget, RestoreRequest
from volflow.runs.remove_old import remove_replaced

OLD = {"id": "old", "status": "available", "attachments": [], "updated_at": None}
REQUEST = RestoreRequest(targets={"old": RequestedTarget("backup", "", {}, "new", OLD)})
RUNS: Any = SimpleNamespace(update_item=lambda *arguments, **fields: None)


class Cinder:
    """A cloud with two volumes that reports once that the old one does not exist.

    :param there: whether the old one can be seen
    :param all_projects: whether the login sees the volumes of all projects
    """

    def __init__(
        self, *, there: bool, error: CloudError | None = None, all_projects: bool = True
    ) -> None:
        self.there, self.all_projects = there, all_projects
        self.error = error or ResourceNotFoundError("Deleting volume old: not found in Cinder")
        self.volumes = self
        self.snapshots = SimpleNamespace(list=lambda volume_id: [])

    def existing(self, volume_id: str) -> dict[str, Any] | None:
        return OLD if self.there else None

    def get(self, volume_id: str) -> dict[str, Any]:
        return {"id": volume_id, "status": "available"}

    def sees_all_projects(self) -> bool:
        return self.all_projects

    def delete(self, volume_id: str, *, begun: Callable[[], object]) -> bool:
        raise self.error


class Killed(BaseException):
    """Stands for the end of the process."""


def told(
    cinder: Any, *, aborting: bool = False, removed: bool = False, runs: Any = RUNS
) -> VolumeResult:
    one = VolumeResult("old", "", Outcome.COMPLETE, target_id="new", removed=removed)
    result = RunResult("run", "restore", (one,))
    work: Any = SimpleNamespace(
        run_id="run", request=REQUEST, of=lambda key: SimpleNamespace(cinder=cinder)
    )
    (found,) = remove_replaced(runs, work, result, aborting=aborting).volumes
    return found


def test_a_404_for_a_volume_that_is_there_does_not_make_it_removed() -> None:
    found = told(Cinder(there=True))
    assert not found.removed
    assert "not found in Cinder" in str(found.not_removed)


def test_an_outage_leaves_it_open_whether_the_volume_was_removed() -> None:
    """Cinder may have carried the request out before its answer got lost."""
    found = told(Cinder(there=True, error=UnavailableError("Deleting volume old: HTTP 503")))
    assert not found.removed
    assert found.not_removed == (
        "volume old: it is not known whether it was removed: Deleting volume old: HTTP 503"
    )


@pytest.mark.parametrize("there", [True, False])
def test_an_aborted_run_tells_whether_the_volume_is_gone(there: bool) -> None:
    found = told(Cinder(there=there), aborting=True)
    assert found.removed is not there
    assert found.not_removed == ("volume old: the run was aborted" if there else None)


@pytest.mark.parametrize("all_projects", [True, False])
def test_a_volume_that_cannot_be_seen_is_removed_only_for_who_sees_all(all_projects: bool) -> None:
    """It may have gone to another project, before its removal or at that moment."""
    lost = Cinder(there=True, all_projects=all_projects)
    lost.delete = lambda volume_id, begun: False  # type: ignore[method-assign]
    for cinder in (Cinder(there=False, all_projects=all_projects), lost):
        found = told(cinder)
        assert found.removed is all_projects
        assert ("it is not known whether it was removed" in str(found.not_removed)) is (
            not all_projects
        )


@pytest.mark.parametrize("deleting", [False, True])
def test_a_resumed_run_knows_that_the_deletion_had_begun(
    monkeypatch: pytest.MonkeyPatch, deleting: bool
) -> None:
    cinder, stored = Cinder(there=True, all_projects=False), list[VolumeResult]()
    runs = SimpleNamespace(
        update_item=lambda run, key, result: stored.append(VolumeResult.from_dict(result))
    )

    def killed(volume_id: str, *, begun: Callable[[], object] = lambda: None) -> None:
        begun()
        raise Killed

    monkeypatch.setattr(cinder, "delete", killed)
    monkeypatch.setattr(cinder, "wait_gone", killed, raising=False)
    monkeypatch.setitem(OLD, "status", "deleting" if deleting else "available")
    with pytest.raises(Killed):
        told(cinder, runs=runs)
    (found,) = stored
    cinder.there = False
    assert told(cinder, removed=found.removed).removed


def test_a_volume_that_is_still_there_is_not_removed_though_its_deletion_had_begun() -> None:
    found = told(Cinder(there=True), removed=True)
    assert not found.removed
    assert found.not_removed
