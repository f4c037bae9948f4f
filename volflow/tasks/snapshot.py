"""The temporary snapshot of the volume that is backed up: creates it, and deletes it again."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud.marks import TAG_KEY
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class Snapshot(Temporary):
    """Makes sure that the snapshot exists; its revert deletes it and waits until it is gone."""

    kind = "snapshot"
    step = "snapshot"
    default_provides = "snapshot"

    def __init__(self, work: Work, source_id: str | None = None) -> None:
        """
        :param source_id: the volume to snapshot, where it is not the volume of this work
        """
        super().__init__(work)
        self._source_id = source_id or work.volume_id

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        self.intend(volume_id=self._source_id)
        found = cinder.snapshots.tagged(self._source_id, self.tag)
        snapshot = found[0] if found else self._create()
        self.present(snapshot["id"])
        return cinder.snapshots.wait(snapshot["id"])

    def _create(self) -> dict[str, Any]:
        return self.work.cinder.snapshots.create(
            self._source_id,
            name=f"volflow-{self.services.run_id[:8]}",
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder = work.cinder
        source_id = entry.details.get("volume_id") or work.volume_id
        for snapshot in cinder.snapshots.tagged(source_id, entry.tag):
            cinder.snapshots.delete(snapshot["id"])
