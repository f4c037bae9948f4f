"""The temporary volume created from the snapshot: it is attached and read, then deleted."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import TAG_KEY, TEMPORARY
from volflow.tasks.presence import delete_volume, earlier_volume, volumes_to_remove
from volflow.tasks.requested import Requested
from volflow.tasks.work import Work


class TemporaryVolume(Requested):
    """Makes sure that a volume from the snapshot exists; its revert deletes it and waits."""

    kind = TEMPORARY
    step = "temporary volume"
    default_provides = "clone_id"

    def execute(self, description: dict[str, Any], snapshot: dict[str, Any]) -> str:
        volume = earlier_volume(self.work, self.intend(), snapshot["id"])
        if volume is None:
            volume = self._create(description["volume"], snapshot)
        self.present(volume["id"], **{ownership.MADE_AT: volume["created_at"]})
        self.work.cinder.volumes.wait(volume["id"], what="Temporary volume")
        return str(volume["id"])

    def _create(self, source: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
        return self.work.cinder.volumes.create(
            # The source may have grown since the snapshot.
            size=snapshot["size"],
            snapshot_id=snapshot["id"],
            availability_zone=source["availability_zone"],
            name=ownership.temporary_name(self.services.run_id),
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
            unanswered=self.unanswered,
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        for volume in volumes_to_remove(work, entry):
            delete_volume(work, entry, volume)
