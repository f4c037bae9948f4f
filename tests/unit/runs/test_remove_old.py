"""What volflow reports about an old volume is true, whatever Cinder answers."""

from __future__ import annotations

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
    """A cloud with two volumes that reports once that the old one does not exist."""

    def __init__(self, *, there: bool, error: CloudError | None = None) -> None:
        self.there = there
        self.error = error or ResourceNotFoundError("Deleting volume old: not found in Cinder")
        self.volumes = self
        self.snapshots = SimpleNamespace(list=lambda volume_id: [])

    def existing(self, volume_id: str) -> dict[str, Any] | None:
        return OLD if self.there else None

    def get(self, volume_id: str) -> dict[str, Any]:
        return {"id": volume_id, "status": "available"}

    def delete(self, volume_id: str) -> None:
        raise self.error


def told(cinder: Any, *, aborting: bool = False) -> VolumeResult:
    one = VolumeResult("old", "", Outcome.COMPLETE, target_id="new")
    result = RunResult("run", "restore", (one,))
    work: Any = SimpleNamespace(request=REQUEST, of=lambda key: SimpleNamespace(cinder=cinder))
    (found,) = remove_replaced(RUNS, work, result, aborting=aborting).volumes
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
