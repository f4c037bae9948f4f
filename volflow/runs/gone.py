"""Records in the repository which volumes were deleted before their turn."""

from __future__ import annotations

import logging

from volflow.errors import VolflowError
from volflow.results.outcome import Outcome, VolumeResult
from volflow.results.request import BackupRequest
from volflow.runs.work import RunWork

LOG = logging.getLogger(__name__)


def note_gone(work: RunWork, result: VolumeResult) -> None:
    """Record that a volume no longer existed, if the run shows which volumes its project has.

    Without that, the run would seem to have missed the volume, and a restore of all would bring
    back what existed at an earlier run.
    """
    request = work.request
    if result.outcome is not Outcome.LEFT_OUT or not isinstance(request, BackupRequest):
        return
    project_id = request.project_of(result.volume_id) or ""
    if project_id not in request.volumes_in_project:
        return
    try:
        work.of(result.volume_id).repository.note_gone(
            result.volume_id, run_id=work.run_id, project_id=project_id
        )
    except VolflowError as error:
        LOG.warning(
            "The repository could not record that volume %s was deleted; a restore of all volumes "
            "will take those of an earlier run for the last ones that existed: %s",
            result.volume_id,
            error,
        )
