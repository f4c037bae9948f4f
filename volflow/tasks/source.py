"""The volume that is backed up, which its owner may delete or restore at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volflow.cloud import ownership
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import CLAIMED, RESTORED, Mark
from volflow.cloud.wait import existing, is_being_deleted
from volflow.errors import (
    CloudError,
    ResourceNotFoundError,
    SourceDeletedError,
    StoppedError,
    VolumeStateError,
)
from volflow.tasks.work import Work

# Seconds after which a volume that was not found is looked for again.
_AGAIN = 2.0


def source_of(work: Work, volume_id: str) -> dict[str, Any]:
    """The volume, as Cinder shows it.

    :raises SourceDeletedError: it was not found twice, or is being deleted
    :raises StoppedError: the run was asked to stop
    """
    volume = existing(lambda: work.cinder.volumes.get(volume_id))
    if volume is None:
        # One answer can be that of a service that is just starting.
        if work.services.stopping.wait(_AGAIN):
            raise StoppedError(f"Stopped while looking for volume {volume_id}.")
        volume = existing(lambda: work.cinder.volumes.get(volume_id))
    if volume is None or is_being_deleted(volume):
        raise SourceDeletedError(
            f"Volume {volume_id} was deleted, or moved to another project, before its snapshot was "
            "made."
        )
    return volume


def require_type(work: Work, volume: Mapping[str, Any], error: CloudError) -> None:
    """Explain why Cinder does not find something, if that is the type of an existing volume.

    :param error: Cinder's answer to a request for this volume
    :raises VolumeStateError: Cinder does not show the type to this user
    """
    type_id = volume.get("volume_type_id") or volume.get("volume_type")
    if not type_id or not isinstance(error, ResourceNotFoundError):
        return
    if existing(lambda: work.cinder.types.find(type_id)) is None:
        name = volume.get("volume_type") or type_id
        raise VolumeStateError(
            f"Cinder makes no snapshot of volume {volume['id']}, because project "
            f"{work.cinder.project_id} may not use its volume type '{name}' any more. Ask an "
            f"administrator for access: openstack volume type set --project PROJECT '{name}'. "
            f"{error}"
        ) from error


def require_not_restored(work: Work, volume_id: str) -> dict[str, Any]:
    """Make sure that no restore is writing to the volume: it would be stored half-restored.

    :raises VolumeStateError: a restore is
    :raises SourceDeletedError: the volume does not exist any more
    """
    volume = source_of(work, volume_id)
    why = why_half_restored(work.cinder, volume)
    if why:
        raise VolumeStateError(why)
    return volume


def why_half_restored(cinder: Cinder, volume: Mapping[str, Any]) -> str | None:
    """Why a volume, as Cinder shows it, must not be backed up; None if no restore writes to it."""
    mark = Mark.of(volume)
    if mark is None or mark.kind not in (CLAIMED, RESTORED):
        return None
    if not ownership.fits(cinder, dict(volume)):
        return None  # a tenant has written it, or a tool has copied it
    return (
        f"Volume {volume['id']} is being restored by run {mark.run_id} of volflow, and incomplete "
        "until that run ends: it is not backed up. If that run was interrupted, resume or abort "
        "it; if it failed, see 'volflow leftover list'."
    )
