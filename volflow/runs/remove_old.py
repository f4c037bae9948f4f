"""The old volumes that restored ones replace, and their removal when all has gone well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from persistence import Run, Runs
from volflow.cloud.cinder import Cinder
from volflow.cloud.volumes import USABLE
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.plans.preflight import why_not_removable
from volflow.plans.restore_target import Destination
from volflow.results.outcome import Outcome, RunResult, VolumeResult


def remove_replaced(
    runs: Runs,
    cinder_of: Callable[[str], Cinder],
    run: Run,
    result: RunResult,
    *,
    aborting: bool = False,
) -> RunResult:
    """Make sure that the old volumes are gone beside which restored ones stand now.

    Nothing is removed unless every restore of the run is complete, and nothing of which the plan
    said that it would stay. What is not removed stands in the result, with the reason.

    :param cinder_of: block storage in the project to which a volume was restored
    :param aborting: nobody wants it any more
    """
    if result.outcome is not Outcome.COMPLETE:
        why = "the run was aborted" if aborting else "not all volumes of the run are complete"
        volumes = [_spared(run, volume, why) for volume in result.volumes]
    else:
        volumes = [_remove(cinder_of, run, volume, aborting) for volume in result.volumes]
    for volume in volumes:
        runs.update_item(run.id, volume.volume_id, result=volume.to_dict())
    return replace(result, volumes=tuple(volumes))


def _old(run: Run, volume: VolumeResult) -> dict[str, Any] | None:
    """The volume that a restored one replaces, as it was when that was planned, if there is one."""
    target = run.request["targets"][volume.volume_id]
    replaced = target["existing"] and target["destination"] != Destination.IN_PLACE
    return dict(target["existing"]) if replaced else None


def _spared(run: Run, volume: VolumeResult, why: str) -> VolumeResult:
    old = _old(run, volume)
    return replace(volume, not_removed=f"volume {old['id']}: {why}") if old else volume


def _remove(
    cinder_of: Callable[[str], Cinder], run: Run, volume: VolumeResult, aborting: bool
) -> VolumeResult:
    old = _old(run, volume)
    if old is None:
        return volume
    planned = run.request["targets"][volume.volume_id].get("in_the_way")
    if planned:
        # Even if it is out of the way by now: it was told to stay, and was in use since.
        return _spared(run, volume, f"it stays, as planned: {planned}")
    try:
        cinder = cinder_of(volume.volume_id)
        trouble = _make_gone(cinder, old, volume, aborting)
    except CloudError as error:
        # A single 404 is one too: the volume may be there.
        trouble = str(error)
    return _spared(run, volume, trouble) if trouble else replace(volume, removed=True)


def _make_gone(
    cinder: Cinder, old: Mapping[str, Any], new: VolumeResult, aborting: bool
) -> str | None:
    """Make sure that an old volume is gone, and give what is in the way, if anything."""
    volume_id, now = old["id"], cinder.volumes.existing(old["id"])
    if now is None:
        return None
    if now["status"] == "deleting":
        # This run has begun to, in a process that was killed.
        cinder.volumes.wait_gone(volume_id)
        return None
    if aborting:
        return "the run was aborted"
    trouble = _gone_since(cinder, new) or why_not_removable(cinder, now) or _changed(old, now)
    if trouble is None:
        cinder.volumes.delete(volume_id)
    return trouble


def _changed(old: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """That a volume is not what it was when its removal was planned, if so.

    One that was attached for a while can have newer data than the backup.
    """
    if now.get("updated_at") == old.get("updated_at"):
        return None
    return "it was attached, or changed in some other way, since the restore was planned"


def _gone_since(cinder: Cinder, volume: VolumeResult) -> str | None:
    """Why the new volume cannot take the place of the old one, if so."""
    try:
        if volume.target_id and cinder.volumes.get(volume.target_id)["status"] in USABLE:
            return None
    except ResourceNotFoundError:
        pass
    return "the new one is not there any more"
