"""The attachment of a volume to this host, as Cinder keeps it."""

from __future__ import annotations

from persistence import Entry
from volflow.cinder import TAG_KEY
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class Attachment(Temporary):
    """Makes sure that Cinder exports the volume to this host; its revert ends that.

    The volume is this run's own or claimed by it, and Cinder's attachments carry no metadata: an
    attachment of it that is not a server's is ours.
    """

    kind = "attachment"
    step = "attachment"
    host_local = True
    default_provides = "attachment_id"

    def execute(self, clone_id: str) -> str:
        self.intend(volume_id=clone_id)
        # One that an earlier process made may be another host's or another boot's.
        self._end(self.work, clone_id)
        attachment_id = self.work.cinder.create_attachment(
            clone_id, self.services.connector.properties()
        )
        self.present(attachment_id)
        return attachment_id

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        if entry.resource_id:
            # It may be left over on a volume that is the tenant's by now.
            work.cinder.delete_attachment(entry.resource_id)
        cls._end(work, str(entry.details["volume_id"]))

    @staticmethod
    def _end(work: Work, volume_id: str) -> None:
        cinder = work.cinder
        volume = cinder.existing_volume(volume_id)
        if volume is None:
            return
        if not work.is_ours(volume["metadata"].get(TAG_KEY)):
            return
        for attachment in cinder.attachments(volume_id):
            if not attachment["instance"]:
                cinder.delete_attachment(attachment["id"])
