"""The block device by which this host sees the attached volume."""

from __future__ import annotations

from persistence import Entry
from volflow.errors import HostError, ResourceNotFoundError
from volflow.host.connector import device_size
from volflow.host.identity import boot_id, host_name
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work

_GIB = 1024**3
# Back ends round a volume up to their own granularity, of which 8 GiB is the largest.
_ROUNDING = 8 * _GIB


class Device(Temporary):
    """Makes sure that os-brick has connected the volume; its revert disconnects it.

    The revert forces where it must: it comes before the volume is deleted or rolled back.
    """

    kind = "device"
    step = "device"
    host_local = True
    default_provides = "device"

    def execute(self, attachment_id: str, clone_id: str) -> str:
        here = {"host": host_name(), "boot_id": boot_id(), "attachment_id": attachment_id}
        self.intend(**here)
        info = self.services.connector.connect(self.work.connection(attachment_id))
        self.present(info["path"], **here, info=info)
        self._compare_size(clone_id, info["path"])
        self.work.cinder.complete_attachment(attachment_id)
        return str(info["path"])

    def _compare_size(self, volume_id: str, path: str) -> None:
        """A stale or wrong path must be neither read nor written."""
        expected = int(self.work.cinder.volume(volume_id)["size"]) * _GIB
        found = device_size(path)
        if not expected <= found < expected + _ROUNDING:
            raise HostError(
                f"The device {path} has {found} bytes where the volume has {expected}: it is "
                "not this volume. Look for stale devices on this host."
            )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cls.disconnect(work, entry, discard=True)

    @staticmethod
    def disconnect(work: Work, entry: Entry, *, discard: bool) -> None:
        """Disconnect the device where it can still be connected: on this host, in this boot."""
        details = entry.details
        if (details["host"], details["boot_id"]) != (host_name(), boot_id()):
            return
        try:
            connection = work.connection(details["attachment_id"])
        except ResourceNotFoundError:
            return  # ended in Cinder, which comes after the disconnect
        work.services.connector.disconnect(connection, details.get("info", {}), discard=discard)


class Flush(Step):
    """Disconnects the device after a restore: what cannot be flushed is a failure."""

    step = "flush device"
    host_local = True

    def __init__(self, device: Device) -> None:
        super().__init__(device.work)
        self._device = device

    def execute(self) -> None:
        ledger = self.services.ledger
        entry = ledger.find(self._device.tag)
        if entry is not None:
            self._device.disconnect(self.work, entry, discard=False)
            ledger.gone(self._device.tag)
