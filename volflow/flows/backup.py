"""The way of one volume into the repository."""

from __future__ import annotations

from taskflow.patterns import linear_flow

from volflow.flows.volume import volume_flow
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Dispose
from volflow.tasks.clone import Clone
from volflow.tasks.description import Describe
from volflow.tasks.device import Device
from volflow.tasks.filesystem import Probe
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.save import Save
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.work import Work


def backup_flow(work: Work) -> linear_flow.Flow:
    """Snapshot, copy and clean up: a failure before the copy is stored undoes all of it.

    The order at the end is Cinder's: a snapshot cannot go before the volumes made from it.
    """
    snapshot, clone = Snapshot(work), Clone(work)
    attachment, device = Attachment(work), Device(work)
    mount = Mount(work, read_only=True)
    return volume_flow(work, "backup").add(
        Describe(work),
        snapshot,
        clone,
        attachment,
        device,
        Probe(work),
        mount,
        Save(work),
        Unmount(mount, strict=False),
        Dispose(device),
        Dispose(attachment),
        Dispose(clone),
        Dispose(snapshot),
    )
