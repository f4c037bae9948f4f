"""Brings a volume back by copying from its safety snapshot, where Cinder cannot revert it.

Cinder reverts a volume only to its newest snapshot, and only if the volume has not grown since. But
somebody else can extend it or make a snapshot of it while a restore runs. Then volflow makes a
volume of the safety snapshot, attaches both, and copies the blocks. Everything that this makes
stands in the ledger.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import SAFETY_VOLUME, TAG_KEY
from volflow.cloud.wait import Resource
from volflow.disk import blocks
from volflow.tasks.attachment import Attachment
from volflow.tasks.device import Device
from volflow.tasks.presence import delete_volume, earlier_volume, volumes_to_remove
from volflow.tasks.requested import Requested
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

_GIB = 1024**3
# The program must not depend on installed packages or on the environment.
_BLOCKS = (sys.executable, "-I", "-S", blocks.__file__)


class SafetyVolume(Requested):
    """Makes sure that a volume from the safety snapshot exists; its revert deletes it and waits."""

    kind = SAFETY_VOLUME
    step = "safety volume"

    def execute(self, snapshot: Resource, zone: str | None) -> str:
        """
        :param snapshot: the safety snapshot
        :param zone: the availability zone of its volume
        """
        cinder, run_id = self.work.cinder, self.services.run_id
        volume = earlier_volume(self.work, self.intend(), snapshot["id"])
        if volume is None:
            volume = cinder.volumes.create(
                size=snapshot["size"],
                snapshot_id=snapshot["id"],
                availability_zone=zone,
                name=ownership.temporary_name(run_id),
                description=f"Temporary, made by volflow run {run_id}",
                metadata={TAG_KEY: self.tag},
                unanswered=self.unanswered,
            )
        self.present(volume["id"], **{ownership.MADE_AT: volume["created_at"]})
        cinder.volumes.wait(volume["id"], what="Temporary volume", cleaning=True)
        return str(volume["id"])

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        for volume in volumes_to_remove(work, entry):
            delete_volume(work, entry, volume)


class SafetyDevice(Device):
    """The block device of the volume from the safety snapshot."""

    kind = "safety device"
    step = "safety device"
    attachment = "safety attachment"


class SafetyAttachment(Attachment):
    """The attachment to this host of the volume from the safety snapshot."""

    kind = SafetyDevice.attachment
    step = "safety attachment"
    device = SafetyDevice


def copy_back(work: Work, volume: Resource, snapshot: Resource) -> None:
    """Make the blocks of a volume those of its safety snapshot.

    What the volume has beyond the size of the snapshot stays as it is.

    :param volume: it must not be attached
    :raises VolflowError: it could not be brought back; it can be tried again
    """
    release(work)
    try:
        source_id = SafetyVolume(work).execute(snapshot, volume["availability_zone"])
        source = _connected(work, SafetyAttachment, source_id)
        target = _connected(work, Attachment, str(volume["id"]))
        _copy(work, source, target, int(snapshot["size"]) * _GIB)
        Device.flush(work)
    finally:
        release(work)


def _connected(work: Work, kind: type[Attachment], volume_id: str) -> str:
    """Attach and connect a volume; returns the path of its device."""
    attachment_id = kind(work).execute(volume_id)
    return kind.device(work).execute(attachment_id, volume_id)


def _copy(work: Work, source: str, target: str, size: int) -> None:
    namespace = work.services.host.namespace()
    try:
        written = namespace.run(*_BLOCKS, source, target, str(size)).strip()
    finally:
        namespace.close()
    LOG.info("%s bytes of %s were copied back from the safety snapshot", written, target)


def release(work: Work) -> None:
    """Remove what this attempt, or an earlier one that was killed, has made."""
    steps: tuple[Any, ...] = (Attachment, SafetyAttachment, SafetyVolume)
    for step in steps:
        step.dispose(work, work.tag(step.kind))
