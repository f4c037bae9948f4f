"""The block device by which this host sees the attached volume."""

from __future__ import annotations

import logging

from persistence import Entry, EntryState
from volflow.cloud.wait import existing
from volflow.errors import HostError
from volflow.host.identity import boot_id, host_name
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

_GIB = 1024**3
# Back ends round a volume up to their own granularity, of which 8 GiB is the largest.
_ROUNDING = 8 * _GIB


class Device(Temporary):
    """Makes sure that os-brick has connected the volume; its revert disconnects it.

    The revert discards unwritten data where it must, because the volume is deleted or reverted
    next.
    """

    kind = "device"
    step = "device"
    host_local = True
    default_provides = "device"

    def execute(self, attachment_id: str, clone_id: str) -> str:
        here = {"host": host_name(), "boot_id": boot_id(), "attachment_id": attachment_id}
        self.intend(**here)
        info = self.services.host.connector.connect(self.work.connection(attachment_id))
        self.present(info["path"], **here, info=info)
        self._compare_size(clone_id, info["path"])
        self.work.cinder.attachments.complete(attachment_id)
        return str(info["path"])

    def _compare_size(self, volume_id: str, path: str) -> None:
        """Make sure that the path is not that of a stale or wrong device.

        :raises HostError: it is
        """
        expected = int(self.work.cinder.volumes.get(volume_id)["size"]) * _GIB
        found = self.services.host.device_size(path)
        if not expected <= found < expected + _ROUNDING:
            raise HostError(
                f"The device {path} has {found} bytes but the volume has {expected}: it is not "
                "this volume. Look for stale devices on this host."
            )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cls.disconnect(work, entry, discard=True)

    @classmethod
    def flush(cls, work: Work) -> None:
        """Disconnect the device if it is connected, and close its entry in the ledger.

        :raises HostError: written data may not have reached the volume
        """
        ledger, tag = work.services.ledger, work.tag(cls.kind)
        entry = ledger.find(tag)
        if entry is not None and entry.state is not EntryState.GONE:
            cls.disconnect(work, entry, discard=False)
            ledger.gone(tag)

    @classmethod
    def disconnect(cls, work: Work, entry: Entry, *, discard: bool) -> None:
        """Disconnect the device if it can still be connected: on this host, in this boot."""
        elsewhere = cls.elsewhere(entry)
        if elsewhere:
            level = logging.INFO if entry.details["host"] == host_name() else logging.WARNING
            LOG.log(level, "Device %s is not disconnected: %s", entry.resource_id, elsewhere)
            return
        attachment_id = entry.details["attachment_id"]
        connection = existing(lambda: work.connection(attachment_id))
        if connection is None:
            return  # the attachment is deleted, and that happens after the disconnect
        info = entry.details.get("info", {})
        work.services.host.connector.disconnect(connection, info, discard=discard)

    @staticmethod
    def elsewhere(entry: Entry) -> str | None:
        """Why the device cannot be connected here and now; None if it can."""
        host = entry.details["host"]
        if host != host_name():
            return f"it is gone if host {host} has been booted since; else look for it there"
        if entry.details["boot_id"] != boot_id():
            return "it is gone with an earlier boot of this host"
        return None


class Flush(Step):
    """Disconnects the device after a restore; it is a failure if it cannot be flushed."""

    step = "flush device"
    host_local = True

    def __init__(self, device: Device) -> None:
        super().__init__(device.work)
        self._device = device

    def execute(self) -> None:
        self._device.flush(self.work)
