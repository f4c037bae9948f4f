"""The attachment of a volume to this host, as Cinder keeps it."""

from __future__ import annotations

from typing import Any

from persistence import Entry, EntryState
from volflow.cloud.marks import tag_of
from volflow.tasks.base import Temporary
from volflow.tasks.claim import Claim
from volflow.tasks.device import Device
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work


class Attachment(Temporary):
    """Makes sure that Cinder exports the volume to this host; its revert ends that.

    Cinder's attachments carry no metadata, and do not tell whose they are. On a volume that this
    run has made, every attachment is its own but a server's. A volume that it has claimed is the
    tenant's: there its own is the one in the ledger.
    """

    kind = "attachment"
    step = "attachment"
    host_local = True
    default_provides = "attachment_id"

    def execute(self, clone_id: str) -> str:
        work, ledger = self.work, self.services.ledger
        # What an earlier process made may be another host's or another boot's: it is made anew.
        # A device that is still connected here can only be disconnected before.
        Device.flush(work)
        earlier = ledger.find(self.tag)
        if earlier is not None and earlier.state is not EntryState.GONE:
            self.remove(work, earlier)
            ledger.gone(self.tag)
        self.intend(volume_id=clone_id)
        attachment_id = work.cinder.attachments.create(
            clone_id, self.services.host.connector.properties()
        )
        self.present(attachment_id)
        if ledger.find(work.tag(Claim.kind)):
            # It may have been left alone for days since it was claimed.
            Claim.require_alone(work, clone_id, attachment_id)
        return attachment_id

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        Device.dispose(work, work.tag(Device.kind))
        if entry.resource_id:
            # It may be left over on a volume that is the tenant's by now.
            work.cinder.attachments.delete(entry.resource_id)
        for attachment in cls._others(work, entry):
            work.cinder.attachments.delete(attachment["id"])

    @staticmethod
    def _others(work: Work, entry: Entry) -> list[dict[str, Any]]:
        """What else this run has attached the volume by: the answer may never have come."""
        volume_id = str(entry.details["volume_id"])
        volume = work.cinder.volumes.existing(volume_id)
        mark = tag_of(volume) if volume else None
        made = mark in (work.tag(TemporaryVolume.kind), work.tag(NewVolume.kind))
        unknown = mark == work.tag(Claim.kind) and not entry.resource_id
        if not made and not unknown:
            return []
        return [
            attachment
            for attachment in work.cinder.attachments.list(volume_id)
            # One of which this run does not know the id it has never completed.
            if not attachment["instance"] and (made or attachment["status"] != "attached")
        ]
