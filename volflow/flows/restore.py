"""The way of one volume out of the repository."""

from __future__ import annotations

from taskflow.patterns import linear_flow

from volflow.flows.volume import volume_flow
from volflow.manifest import Manifest
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Dispose
from volflow.tasks.device import Device, Flush
from volflow.tasks.filesystem import MakeFileSystem
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.properties import ApplyProperties
from volflow.tasks.restore import RestoreData
from volflow.tasks.safety import Keep, SafetySnapshot
from volflow.tasks.target import Claim, NewVolume
from volflow.tasks.work import Work


def restore_to_new_flow(work: Work, backup_id: str, manifest: Manifest) -> linear_flow.Flow:
    """Make a volume like the one backed up and fill it; a failure deletes it."""
    target = NewVolume(work, manifest)
    return volume_flow(work, "restore").add(
        target,
        *_copy(work, backup_id, manifest),
        ApplyProperties(target, manifest),
    )


def restore_in_place_flow(
    work: Work, backup_id: str, manifest: Manifest, target_id: str
) -> linear_flow.Flow:
    """Fill a volume that is there; a failure brings back what it held before."""
    claim, safety = Claim(work, target_id), SafetySnapshot(work)
    return volume_flow(work, "restore").add(
        claim,
        safety,
        *_copy(work, backup_id, manifest, safety),
        Keep(safety),
        Dispose(safety),
        Dispose(claim),
    )


def _copy(
    work: Work, backup_id: str, manifest: Manifest, safety: SafetySnapshot | None = None
) -> list[Attachment | Device | MakeFileSystem | Mount | RestoreData | Unmount | Flush | Dispose]:
    attachment, device = Attachment(work), Device(work)
    mount = Mount(work, read_only=False)
    return [
        attachment,
        device,
        MakeFileSystem(work, manifest.regions[0].file_system, safety),
        mount,
        RestoreData(work, backup_id, manifest),
        Unmount(mount, strict=True),
        Flush(device),
        Dispose(attachment),
    ]
