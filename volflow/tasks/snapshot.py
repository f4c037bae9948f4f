"""The temporary snapshot of the volume that is backed up."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cinder import TAG_KEY
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class Snapshot(Temporary):
    """Makes sure that there is a snapshot; its revert deletes it and waits until it is gone."""

    kind = "snapshot"
    step = "snapshot"
    default_provides = "snapshot"

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        self.intend()
        found = cinder.snapshots_tagged(self.work.volume_id, self.tag)
        snapshot = found[0] if found else self._create()
        self.present(snapshot["id"])
        return cinder.wait_snapshot(snapshot["id"])

    def _create(self) -> dict[str, Any]:
        return self.work.cinder.create_snapshot(
            self.work.volume_id,
            name=f"volflow-{self.services.run_id[:8]}",
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder = work.cinder
        for snapshot in cinder.snapshots_tagged(work.volume_id, entry.tag):
            cinder.delete_snapshot(snapshot["id"])
