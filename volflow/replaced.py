"""The old volumes that restored ones replace, and their removal when all has gone well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from persistence import ItemState, Run
from volflow.cinder import Cinder
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.parts import Parts
from volflow.result import Outcome, RunResult, VolumeResult


def in_the_way(cinder: Cinder, volume: dict[str, Any]) -> str | None:
    """Why an old volume cannot be removed, if so: it is in use, or has snapshots."""
    if volume["status"] != "available" or volume["attachments"]:
        return f"it is '{volume['status']}'" + (", attached" if volume["attachments"] else "")
    if cinder.snapshots(volume["id"]):
        return "it has snapshots"
    if volume.get("group_id"):
        return f"it belongs to group {volume['group_id']}"
    return None


def remove_replaced(parts: Parts, run: Run, result: RunResult) -> RunResult:
    """Remove the old volumes beside which restored ones stand now.

    Nothing is removed unless every restore of the run is complete. What cannot be removed is a
    leftover in the result.
    """
    if result.outcome is not Outcome.COMPLETE:
        return result
    volumes = [_remove(parts, run, volume) for volume in result.volumes]
    for volume in volumes:
        parts.state.runs.update_item(
            run.id, volume.volume_id, state=ItemState.COMPLETE, result=volume.to_dict()
        )
    return replace(result, volumes=tuple(volumes))


def _remove(parts: Parts, run: Run, volume: VolumeResult) -> VolumeResult:
    target = run.request["targets"][volume.volume_id]
    old = target["existing"]
    if old is None or old["id"] == volume.target_id:
        return volume
    cinder = parts.cinder_in(run.request["projects"][volume.volume_id])
    try:
        trouble = in_the_way(cinder, cinder.volume(old["id"]))
        if trouble is None:
            cinder.delete_volume(old["id"])
            return replace(volume, removed=True)
    except ResourceNotFoundError:
        return replace(volume, removed=True)
    except CloudError as error:
        trouble = str(error)
    told = f"old volume {old['id']}: {trouble}"
    return replace(volume, leftovers=(*volume.leftovers, told))
