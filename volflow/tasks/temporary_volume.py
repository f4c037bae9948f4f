"""The temporary volume made from the snapshot, which is what is attached and read."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud.marks import TAG_KEY, TEMPORARY
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class TemporaryVolume(Temporary):
    """Makes sure that there is a volume of the snapshot; its revert deletes it and waits."""

    kind = TEMPORARY
    step = "temporary volume"
    default_provides = "clone_id"

    def execute(self, description: dict[str, Any], snapshot: dict[str, Any]) -> str:
        cinder = self.work.cinder
        self.intend()
        found = cinder.volumes.tagged(self.tag)
        clone = found[0] if found else self._create(description["volume"], snapshot)
        self.present(clone["id"])
        cinder.volumes.wait(clone["id"], what="Temporary volume")
        return str(clone["id"])

    def _create(self, volume: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
        return self.work.cinder.volumes.create(
            # The source may have grown since the snapshot.
            size=snapshot["size"],
            snapshot_id=snapshot["id"],
            availability_zone=volume["availability_zone"],
            name=f"volflow-{self.services.run_id[:8]}",
            description=f"Temporary, made by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        for clone in work.cinder.volumes.tagged(entry.tag):
            work.cinder.volumes.delete(clone["id"])
