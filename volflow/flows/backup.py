"""The flow that backs up one volume."""

from __future__ import annotations

from taskflow.patterns import linear_flow

from volflow.flows.volume import volume_flow
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Dispose, Step
from volflow.tasks.description import Describe
from volflow.tasks.device import Device
from volflow.tasks.filesystem import Probe
from volflow.tasks.group import GroupSnapshot, MemberSnapshot
from volflow.tasks.mount import Unmount
from volflow.tasks.mount_clone import MountClone
from volflow.tasks.save import Save
from volflow.tasks.slot import AcquireSlot, ReleaseSlot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work


def backup_flow(work: Work) -> linear_flow.Flow:
    """Snapshot, copy and clean up. A failure before the backup is stored undoes everything.

    Cinder sets the order at the end: a snapshot cannot be deleted before the volumes made from it.
    """
    snapshot = Snapshot(work)
    return volume_flow(work, "backup").add(
        Describe(work),
        snapshot,
        *_copy(work),
        Dispose(snapshot),
    )


def member_backup_flow(work: Work, group: GroupSnapshot) -> linear_flow.Flow:
    """The flow for a volume of a group, which uses the snapshot that the volumes share."""
    return volume_flow(work, "backup").add(
        AcquireSlot(work),
        Describe(work),
        MemberSnapshot(work, group),
        *_copy(work),
        ReleaseSlot(work),
    )


def _copy(work: Work) -> list[Step]:
    volume, attachment, device = TemporaryVolume(work), Attachment(work), Device(work)
    mount = MountClone(volume)
    return [
        volume,
        attachment,
        device,
        Probe(work),
        mount,
        Save(work),
        Unmount(mount, strict=False),
        Dispose(device),
        Dispose(attachment),
        Dispose(volume),
    ]
