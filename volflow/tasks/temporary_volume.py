"""The temporary volume created from the snapshot: it is attached and read, then deleted."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud.marks import TAG_KEY, TEMPORARY
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class TemporaryVolume(Temporary):
    """Makes sure that a volume from the snapshot exists; its revert deletes it and waits."""

    kind = TEMPORARY
    step = "temporary volume"
    default_provides = "clone_id"

    def execute(self, description: dict[str, Any], snapshot: dict[str, Any]) -> str:
        cinder = self.work.cinder
        self.intend()
        found = cinder.volumes.tagged(self.tag)
        volume = found[0] if found else self._create(description["volume"], snapshot)
        self.present(volume["id"])
        cinder.volumes.wait(volume["id"], what="Temporary volume")
        return str(volume["id"])

    def _create(self, source: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
        return self.work.cinder.volumes.create(
            # The source may have grown since the snapshot.
            size=snapshot["size"],
            snapshot_id=snapshot["id"],
            availability_zone=source["availability_zone"],
            name=f"volflow-{self.services.run_id[:8]}",
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        for volume in work.cinder.volumes.tagged(entry.tag):
            work.cinder.volumes.delete(volume["id"])
