"""The old volumes that restored ones replace, and their removal when all has gone well."""

from __future__ import annotations

from dataclasses import replace

from persistence import Run
from volflow.cinder import Cinder
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.parts import Parts
from volflow.preflight import in_the_way
from volflow.restore_plan import Destination, RestoreOptions
from volflow.result import Outcome, RunResult, VolumeResult
from volflow.selection import USABLE


def remove_replaced(parts: Parts, run: Run, result: RunResult) -> RunResult:
    """Remove the old volumes beside which restored ones stand now.

    Nothing is removed unless every restore of the run is complete. What is not removed stands in
    the result, with the reason.
    """
    if result.outcome is Outcome.COMPLETE:
        volumes = [_remove(parts, run, volume) for volume in result.volumes]
    else:
        volumes = [_spared(run, volume) for volume in result.volumes]
    for volume in volumes:
        parts.state.runs.update_item(run.id, volume.volume_id, result=volume.to_dict())
    return replace(result, volumes=tuple(volumes))


def _old(run: Run, volume: VolumeResult) -> str | None:
    """The volume that a restored one replaces, if there is one."""
    target = run.request["targets"][volume.volume_id]
    replaced = target["existing"] and target["destination"] != Destination.IN_PLACE
    return str(target["existing"]["id"]) if replaced else None


def _spared(run: Run, volume: VolumeResult) -> VolumeResult:
    old = _old(run, volume)
    why = f"volume {old}: not all volumes of the run are complete"
    return replace(volume, not_removed=why) if old else volume


def _remove(parts: Parts, run: Run, volume: VolumeResult) -> VolumeResult:
    old = _old(run, volume)
    if old is None:
        return volume
    options = RestoreOptions(**run.request["options"])
    cinder = parts.cinder_in(options.owner(run.request["projects"][volume.volume_id]))
    try:
        trouble = _gone_since(cinder, volume) or in_the_way(cinder, cinder.volume(old))
        if trouble is None:
            cinder.delete_volume(old)
            return replace(volume, removed=True)
    except ResourceNotFoundError:
        return replace(volume, removed=True)
    except CloudError as error:
        trouble = str(error)
    return replace(volume, not_removed=f"volume {old}: {trouble}")


def _gone_since(cinder: Cinder, volume: VolumeResult) -> str | None:
    """Why the new volume cannot take the place of the old one, if so."""
    try:
        if volume.target_id and cinder.volume(volume.target_id)["status"] in USABLE:
            return None
    except ResourceNotFoundError:
        pass
    return "the new one is not there any more"
