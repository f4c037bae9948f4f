"""The group snapshot that the volumes of a group share."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.errors import ResourceNotFoundError
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work


class GroupSnapshot(Temporary):
    """Makes sure that there is one snapshot of all volumes of the group.

    It goes when all its volumes are done with it, which is when their flow has ended: the failure
    of one must not take it from the others.
    """

    kind = "group snapshot"
    step = "group snapshot"
    default_provides = "snapshots"

    def execute(self) -> dict[str, dict[str, Any]]:
        """The members' snapshots, by volume id."""
        cinder, group_id = self.work.cinder, self.work.volume_id
        self.intend()
        found = cinder.group_snapshots_described(group_id, self.tag)
        snapshot = found[0] if found else self._create(group_id)
        self.present(snapshot["id"])
        cinder.wait_group_snapshot(snapshot["id"])
        return {s["volume_id"]: s for s in cinder.member_snapshots(snapshot["id"])}

    def _create(self, group_id: str) -> dict[str, Any]:
        # Group snapshots have no metadata: the description carries the tag.
        return self.work.cinder.create_group_snapshot(
            group_id, name=f"volflow-{self.services.run_id[:8]}", description=self.tag
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder = work.cinder
        for snapshot in cinder.group_snapshots_described(work.volume_id, entry.tag):
            cinder.delete_group_snapshot(snapshot["id"])


class MemberSnapshot(Step):
    """Takes the volume's own snapshot out of the group snapshot. Makes nothing."""

    step = "snapshot"
    default_provides = "snapshot"

    def __init__(self, work: Work, group: GroupSnapshot) -> None:
        super().__init__(work, rebind={"snapshots": group.symbol("snapshots")})

    def execute(self, snapshots: dict[str, dict[str, Any]]) -> dict[str, Any]:
        if self.work.volume_id not in snapshots:
            raise ResourceNotFoundError(
                f"The group snapshot holds no snapshot of volume {self.work.volume_id}: it has "
                "left the group since the run began."
            )
        return snapshots[self.work.volume_id]
