"""Removing the old volumes that restored ones replace, after a complete restore."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from persistence import Runs
from volflow.cloud.cinder import Cinder
from volflow.cloud.client import Deletion
from volflow.cloud.volumes import USABLE
from volflow.cloud.wait import is_being_deleted
from volflow.errors import CloudError, ResourceNotFoundError, UnavailableError
from volflow.plans.preflight import why_not_removable
from volflow.printable import bounded
from volflow.results.outcome import Outcome, RunResult, VolumeResult
from volflow.results.request import RestoreRequest
from volflow.runs.work import RunWork

_LOST = (
    "it is not known whether it was removed: it cannot be seen in this project, and Cinder has "
    "given volflow no sign that it deletes it. Either it was deleted, or it went to another project"
)


def remove_replaced(
    runs: Runs, work: RunWork, result: RunResult, *, aborting: bool = False
) -> RunResult:
    """Remove the old volumes that the restored ones replace.

    Nothing is removed unless all restores of the run are complete. A volume that stays according to
    the plan is not removed. The results say what was not removed, and why.

    :param work: the work of a restore run
    :param aborting: whether the run is being aborted, so that nothing may be removed
    """
    assert isinstance(work.request, RestoreRequest)
    if result.outcome is not Outcome.COMPLETE:
        why = "the run was aborted" if aborting else "not all volumes of the run are complete"
        volumes = [_spared(work.request, volume, why) for volume in result.volumes]
    else:
        volumes = [_remove(runs, work, work.request, volume, aborting) for volume in result.volumes]
    for volume in volumes:
        runs.update_item(result.run_id, volume.volume_id, result=volume.to_dict())
    return replace(result, volumes=tuple(volumes))


def _spared(request: RestoreRequest, volume: VolumeResult, why: str) -> VolumeResult:
    old = request.targets[volume.volume_id].replaced
    if not old:
        return volume
    return replace(volume, removed=False, not_removed=f"volume {old['id']}: {why}")


def _remove(
    runs: Runs, work: RunWork, request: RestoreRequest, volume: VolumeResult, aborting: bool
) -> VolumeResult:
    target = request.targets[volume.volume_id]
    old = target.replaced
    if not old:
        return volume
    if target.in_the_way:
        # Even if it could be removed by now: the plan said that it stays.
        return _spared(request, volume, f"it stays, as planned: {target.in_the_way}")
    done = replace(volume, removed=True, not_removed=None)

    def begun() -> None:
        # A process that resumes the run may not see it any more: it must know why.
        runs.update_item(work.run_id, volume.volume_id, result=done.to_dict())

    try:
        trouble = _make_gone(work.of(volume.volume_id).cinder, old, volume, aborting, begun)
    except CloudError as error:
        # A single 404 also counts as an error: the volume may exist.
        trouble = bounded(str(error))
    return _spared(request, volume, trouble) if trouble else done


def _make_gone(
    cinder: Cinder,
    old: Mapping[str, Any],
    new: VolumeResult,
    aborting: bool,
    begun: Callable[[], object],
) -> str | None:
    """Make sure that an old volume does not exist; return why it could not be removed.

    :param new: the result of its restore; as removed if an earlier process of the run has begun
    :param begun: called at a sign that Cinder deletes the old volume
    """
    volume_id, now = old["id"], cinder.volumes.existing(old["id"])
    if now is None:
        return None if new.removed or cinder.volumes.sees_all_projects() else _LOST
    deleting = is_being_deleted(now)
    if not deleting:
        if aborting:
            return "the run was aborted"
        trouble = _gone_since(cinder, new) or why_not_removable(cinder, now) or _changed(old, now)
        if trouble:
            return trouble
    try:
        if deleting:
            # A killed process of this run has begun to delete it.
            begun()
            cinder.volumes.wait_gone(volume_id)
        elif (
            cinder.volumes.delete(volume_id, begun=begun) is not Deletion.BEGUN
            and not cinder.volumes.sees_all_projects()
        ):
            return _LOST
    except UnavailableError as error:
        return bounded(f"it is not known whether it was removed: {error}")
    return None


def _changed(old: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Return a reason if a volume has changed since its removal was planned.

    A volume that was attached since then can have newer data than the backup.
    """
    if now.get("updated_at") == old.get("updated_at"):
        return None
    return "it was attached, or changed in some other way, since the restore was planned"


def _gone_since(cinder: Cinder, volume: VolumeResult) -> str | None:
    """Return why the new volume cannot replace the old one, if so."""
    try:
        if volume.target_id and cinder.volumes.get(volume.target_id)["status"] in USABLE:
            return None
    except ResourceNotFoundError:
        pass
    return "the new one no longer exists"
