"""The block device by which this host sees the attached volume."""

from __future__ import annotations

import logging
import time
from typing import Any

from persistence import Entry, EntryState, StateError
from volflow.cloud.wait import existing
from volflow.errors import HostError
from volflow.host.devices import BlockDevice
from volflow.host.identity import boot_id, host_name, machine_id
from volflow.host.proof import Proof
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# Seconds that the kernel and udev have to remove a device, and between two looks at it.
_GONE_WITHIN, _LOOK = 10.0, 0.2


class Device(Temporary):
    """Makes sure that os-brick has connected the volume; its revert disconnects it.

    Before anything is read or written, the device must be proved to be the volume: it has appeared
    since the attachment was requested, no other volume in flight has it, and nothing that is known
    of it contradicts the connection info.

    The revert discards unwritten data where it must, because the volume is deleted or reverted
    next. It is over when the device is gone from this host.
    """

    kind = "device"
    #: The kind of its attachment.
    attachment = "attachment"
    step = "device"
    host_local = True
    default_provides = "device"

    def execute(self, attachment_id: str, clone_id: str) -> str:
        host, connection = self.services.host, self.work.connection(attachment_id)
        here: dict[str, Any] = {
            "host": host_name(),
            "machine_id": machine_id(),
            "boot_id": boot_id(),
            "attachment_id": attachment_id,
            "address": host.connector.address(connection),
        }
        self.intend(**here)
        info = host.connector.connect(connection)
        path = str(info["path"])
        self.present(path, **here, info=info)
        device = host.block_device(path)
        here["devices"] = sequences(device)
        here["earlier"] = self._earlier(here["devices"])
        self.present(path, **here, info=info)
        try:
            self._prove(device, path, clone_id, connection, here)
        except HostError:
            # It belongs to another volume, and does not end with this attachment.
            self.present(path, **here, info=info, refused=True)
            raise
        self.work.cinder.attachments.complete(attachment_id)
        return path

    def _earlier(self, devices: dict[str, int]) -> list[str]:
        """Which of these devices existed before the attachment was requested."""
        attachment = self.services.ledger.find(self.work.tag(self.attachment))
        newest = attachment.details.get("newest_device") if attachment else None
        return [name for name, number in devices.items() if newest is None or number <= newest]

    def _prove(
        self,
        device: BlockDevice,
        path: str,
        volume_id: str,
        connection: dict[str, Any],
        here: dict[str, Any],
    ) -> None:
        """Make sure that the device is the volume, and not a stale or another one.

        :raises HostError: it is not
        """
        why: str | None
        if here["earlier"]:
            why = f"{', '.join(here['earlier'])} existed before the volume was attached"
        else:
            volume = self.work.cinder.volumes.get(volume_id)
            why = Proof(connection, volume).against(device) or self._other_user(here)
        if why:
            raise HostError(
                f"The device {path} is not volume {volume_id}: {why}. Nothing was read from it or "
                "written to it. Look for stale devices on this host."
            )

    def _other_user(self, here: dict[str, Any]) -> str | None:
        """Which other volume in flight has one of these devices, if one has."""
        numbers = set(here["devices"].values())
        for entry in self.services.ledger.open(kind=self.kind):
            if entry.tag == self.tag:
                continue
            same = entry.details.get("boot_id") == here["boot_id"]
            if same and numbers & set(entry.details.get("devices", {}).values()):
                return f"it is connected as that of volume {entry.item} in run {entry.run_id}"
        return None

    @classmethod
    def dispose(cls, work: Work, tag: str) -> None:
        cls._set_aside(work, tag)
        super().dispose(work, tag)

    @classmethod
    def _set_aside(cls, work: Work, tag: str) -> None:
        """Hand a device of another host over to that host's ``leftover clean``.

        Its attachment may be deleted meanwhile: the ledger knows enough to disconnect the device.
        """
        ledger = work.services.ledger
        try:
            entry = ledger.find(tag)
            if entry is None or entry.state is EntryState.GONE or tag != work.tag(cls.kind):
                return
            why = cls.elsewhere(entry)
            if why is None:
                return
            aside = f"{tag}@{entry.details['host'].replace('/', '_')}"
            ledger.intend(
                aside, run_id=entry.run_id, item=entry.item, kind=cls.kind, details=entry.details
            )
            if entry.resource_id:
                ledger.present(aside, entry.resource_id)
            ledger.leftover(aside, why)
            ledger.gone(tag)
            LOG.warning("Device %s is left over: %s", entry.resource_id, why)
        except StateError:
            LOG.exception("%s could not be changed in the ledger", tag)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cls.disconnect(work, entry, discard=True)

    @classmethod
    def flush(cls, work: Work) -> None:
        """Disconnect the device if it is connected, and close its entry in the ledger.

        :raises HostError: written data may not have reached the volume
        """
        ledger, tag = work.services.ledger, work.tag(cls.kind)
        cls._set_aside(work, tag)
        entry = ledger.find(tag)
        if entry is not None and entry.state is not EntryState.GONE:
            cls.disconnect(work, entry, discard=False)
            ledger.gone(tag)

    @classmethod
    def require_gone(cls, work: Work) -> None:
        """Make sure that the device has been disconnected.

        :raises HostError: it is still connected
        """
        entry = work.services.ledger.find(work.tag(cls.kind))
        if entry is not None and entry.state is not EntryState.GONE:
            raise HostError(
                f"The attachment stays, because its device {entry.resource_id or ''} is still "
                f"connected: {entry.reason}"
            )

    @classmethod
    def why_remaining(cls, work: Work) -> str | None:
        """Why a device is not gone that Cinder removes with its attachment; None if it is gone."""
        entry = work.services.ledger.find(work.tag(cls.kind))
        if entry is None or cls.ended(entry):
            return None
        if entry.details.get("earlier") or entry.details.get("refused"):
            return None
        if cls.elsewhere(entry):
            return None
        try:
            cls._wait_until_gone(work, entry.details.get("devices", {}), {})
        except HostError as error:
            return str(error)
        return None

    @classmethod
    def disconnect(cls, work: Work, entry: Entry, *, discard: bool) -> None:
        """Disconnect the device, and make sure that it is gone.

        :raises HostError: it is not gone, or it is connected to another host
        """
        if cls.ended(entry):
            LOG.info("Device %s is gone with an earlier boot of this host", entry.resource_id)
            return
        elsewhere = cls.elsewhere(entry)
        if elsewhere:
            raise HostError(elsewhere)
        connector = work.services.host.connector
        attachment_id, details = entry.details["attachment_id"], entry.details
        found = existing(lambda: work.connection(attachment_id))
        connection = found or details.get("address") or {}
        devices = details.get("devices", {}) | cls._current(work, entry)
        earlier = details.get("earlier", [])
        if earlier:
            # Somebody else's: it is left as it was found.
            devices = {name: devices[name] for name in devices if name not in earlier}
        elif connection:
            connector.disconnect(connection, details.get("info", {}), discard=discard)
        if found and connector.ends_with_attachment(found):
            return
        cls._wait_until_gone(work, devices, connection if not details.get("devices") else {})

    @staticmethod
    def _current(work: Work, entry: Entry) -> dict[str, int]:
        """What the device consists of now: multipathd may have added paths."""
        known = entry.details.get("devices", {})
        try:
            now = sequences(work.services.host.block_device(str(entry.resource_id)))
        except (HostError, OSError):
            return {}
        return now if now.items() & known.items() else {}

    @staticmethod
    def _wait_until_gone(work: Work, devices: dict[str, int], connection: dict[str, Any]) -> None:
        """Wait until none of the devices exists any more.

        :param connection: of a device that was not recorded; empty otherwise
        :raises HostError: they still exist
        """
        host, deadline = work.services.host, time.monotonic() + _GONE_WITHIN
        while True:
            left = host.remaining(devices)
            left += host.connector.paths(connection) if connection else []
            if not left:
                return
            if time.monotonic() > deadline:
                raise HostError(
                    f"{', '.join(sorted(set(left)))} still exists after the disconnect. Find out "
                    "what uses it (lsof, dmsetup ls --tree), then run 'volflow leftover clean'."
                )
            time.sleep(_LOOK)

    @staticmethod
    def ended(entry: Entry) -> bool:
        """Whether the device was one of an earlier boot of this host, which proves it gone."""
        details = entry.details
        # 0.1.0 knew only the name of the host.
        same = details["host"] == host_name() and (
            "machine_id" not in details or details["machine_id"] == machine_id()
        )
        return bool(same and details["boot_id"] != boot_id())

    @classmethod
    def elsewhere(cls, entry: Entry) -> str | None:
        """Why the device cannot be disconnected here; None if it can, or if it is gone."""
        if entry.details["boot_id"] == boot_id() or cls.ended(entry):
            return None
        host = entry.details["host"]
        return (
            f"it was connected to host {host}: run 'volflow leftover clean' there; if that host "
            f"was rebooted or does not exist any more, 'volflow leftover clean --gone-host {host}'"
        )


def sequences(device: BlockDevice) -> dict[str, int]:
    """A device and what it consists of: the :attr:`BlockDevice.sequence` of each, by name."""
    return {one.name: one.sequence for one in (device, *device.parts)}


class Flush(Step):
    """Disconnects the device after a restore; it is a failure if it cannot be flushed."""

    step = "flush device"
    host_local = True

    def __init__(self, device: Device) -> None:
        super().__init__(device.work)
        self._device = device

    def execute(self) -> None:
        self._device.flush(self.work)
