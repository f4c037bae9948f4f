"""The attachment in Cinder of a volume to this host."""

from __future__ import annotations

import logging
from typing import Any

from persistence import Entry, EntryState, StateError
from volflow.cloud.marks import SAFETY_VOLUME, tag_of
from volflow.errors import CloudError
from volflow.tasks import as_left
from volflow.tasks.base import Temporary
from volflow.tasks.claim import Claim
from volflow.tasks.device import Device
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)


class Attachment(Temporary):
    """Makes sure that Cinder exports the volume to this host; its revert deletes the attachment.

    Cinder's attachments have no metadata, so they do not say who made them. On a volume that this
    run has made, every attachment is its own, except those of servers. A volume that it has
    claimed belongs to the tenant: there only the attachment in the ledger is its own.
    """

    kind = "attachment"
    step = "attachment"
    host_local = True
    default_provides = "attachment_id"
    #: What this host makes of it.
    device: type[Device] = Device

    def execute(self, clone_id: str) -> str:
        work, ledger = self.work, self.services.ledger
        # The attachment of an earlier process may belong to another host or another boot: make a
        # new one. A device that is still connected here must be disconnected first.
        self.device.flush(work)
        earlier = ledger.find(self.tag)
        if earlier is not None and earlier.state is not EntryState.GONE:
            self.remove(work, earlier)
            ledger.gone(self.tag)
        as_left.require(work, clone_id, self.tag, "So nothing is written to it.")
        # The device of this attachment will be newer than all that exist now.
        self.intend(volume_id=clone_id, newest_device=self.services.host.newest_device())
        attachment_id = work.cinder.attachments.create(
            clone_id, self.services.host.connector.properties()
        )
        self.present(attachment_id)
        claim = ledger.find(work.tag(Claim.kind))
        if claim and claim.details["volume_id"] == clone_id:
            # The run may have been suspended for days since it claimed the volume.
            Claim.require_alone(work, clone_id, attachment_id)
        return attachment_id

    @classmethod
    def dispose(cls, work: Work, tag: str) -> None:
        super().dispose(work, tag)
        ledger = work.services.ledger
        try:
            entry = ledger.find(tag)
            if entry is None or entry.state is not EntryState.GONE:
                return
            # Somebody can have opened the device, and can read it as long as it is open.
            why = cls.device.why_remaining(work)
            if why and not cls._is_attached_elsewhere(work, entry):
                LOG.warning("%s is left over: %s", tag, why)
                ledger.leftover(tag, why)
        except StateError:
            LOG.exception("%s could not be looked up in the ledger", tag)

    @staticmethod
    def _is_attached_elsewhere(work: Work, entry: Entry) -> bool:
        """Whether the volume has another attachment, so that its device may stay for that one."""
        try:
            return bool(work.cinder.attachments.list(str(entry.details["volume_id"])))
        except CloudError as error:
            LOG.info("The attachments of %s could not be listed: %s", entry.tag, error)
            return False

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cls.device.dispose(work, work.tag(cls.device.kind))
        # Without the attachment nobody could disconnect it any more.
        cls.device.require_gone(work)
        with as_left.touching(work, str(entry.details["volume_id"])):
            if entry.resource_id:
                # The volume may belong to the tenant by now.
                work.cinder.attachments.delete(entry.resource_id)
            for attachment in cls._others(work, entry):
                work.cinder.attachments.delete(attachment["id"])

    @staticmethod
    def _others(work: Work, entry: Entry) -> list[dict[str, Any]]:
        """Other attachments of this run: Cinder's answer with the id may have been lost."""
        volume_id = str(entry.details["volume_id"])
        volume = work.cinder.volumes.existing(volume_id)
        mark = tag_of(volume) if volume else None
        made = mark in [work.tag(kind) for kind in (TemporaryVolume.kind, SAFETY_VOLUME)]
        new = mark == work.tag(NewVolume.kind)
        # A tenant may use the new volume of a restore that has failed.
        made = made or (new and work.changed_too)
        unknown = (new or mark == work.tag(Claim.kind)) and not entry.resource_id
        if not made and not unknown:
            return []
        return [
            attachment
            for attachment in work.cinder.attachments.list(volume_id)
            # This run cannot have completed an attachment whose id it does not know.
            if not attachment["instance"] and (made or attachment["status"] != "attached")
        ]
