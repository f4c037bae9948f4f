"""The temporary snapshot of the volume that is backed up: creates it, and deletes it again."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import SNAPSHOT, TAG_KEY
from volflow.cloud.wait import is_in_transition
from volflow.errors import CloudError
from volflow.tasks.presence import delete_snapshot, earlier_snapshot, snapshots_to_remove
from volflow.tasks.quiesce import doubt_earlier, quiesced
from volflow.tasks.requested import Requested
from volflow.tasks.source import require_not_restored, require_type, source_of
from volflow.tasks.work import Work


class Snapshot(Requested):
    """Makes sure that the snapshot exists; its revert deletes it and waits until it is gone."""

    kind = SNAPSHOT
    step = "snapshot"
    default_provides = "snapshot"

    def __init__(self, work: Work, source_id: str | None = None) -> None:
        """
        :param source_id: the volume to snapshot, where it is not the volume of this work
        """
        super().__init__(work)
        self._source_id = source_id or work.volume_id
        self._quiesces = source_id is None

    def execute(self) -> dict[str, Any]:
        # A restore can begin at any moment: what it has half written must not count as a backup.
        volume = require_not_restored(self.work, self._source_id)
        try:
            snapshot = self._ensure(volume)
        except CloudError as error:
            # Its owner may have deleted the volume.
            require_type(self.work, source_of(self.work, self._source_id), error)
            raise
        require_not_restored(self.work, self._source_id)
        return snapshot

    def _ensure(self, volume: dict[str, Any]) -> dict[str, Any]:
        cinder = self.work.cinder
        entry = self.intend(volume_id=self._source_id)
        snapshot = earlier_snapshot(self.work, entry, self._source_id)
        if snapshot is None:
            if is_in_transition(volume):
                # Its owner extends or attaches it at this moment: Cinder makes no snapshot now.
                cinder.volumes.wait_settled(volume)
                # Its owner may have deleted it, or begun to restore it.
                volume = require_not_restored(self.work, self._source_id)
            with quiesced(self.work, [volume] if self._quiesces else []):
                return self._made(self._create())
        if self._quiesces:
            doubt_earlier(self.work, [volume])
        return self._made(snapshot)

    def _made(self, snapshot: dict[str, Any]) -> dict[str, Any]:
        made = {ownership.MADE_AT: snapshot["created_at"]}
        self.present(snapshot["id"], volume_id=self._source_id, **made)
        return self.work.cinder.snapshots.wait(snapshot["id"])

    def _create(self) -> dict[str, Any]:
        return self.work.cinder.snapshots.create(
            self._source_id,
            name=ownership.temporary_name(self.services.run_id),
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
            unanswered=self.unanswered,
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        source_id = str(entry.details.get("volume_id") or work.volume_id)
        for snapshot in snapshots_to_remove(work, entry, source_id):
            delete_snapshot(work, entry, snapshot)
