"""Snapshots of all volumes of a group in Cinder: Block Storage API 3.14."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from volflow.cloud.client import Client, plain
from volflow.cloud.groups import LEGACY, Groups, listed, with_tags
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volumes import Volumes
from volflow.cloud.wait import Resource


class GroupSnapshots:
    """The group snapshots of a project, those of consistency groups included."""

    def __init__(
        self, client: Client, groups: Groups, volumes: Volumes, snapshots: Snapshots
    ) -> None:
        self._client, self._api = client, client.api
        self._groups = groups
        self._volumes, self._snapshots = volumes, snapshots

    def described(self, group: Resource, description: str) -> list[Resource]:
        """The snapshots of a group that have this description."""
        return self._client.call(
            f"Listing snapshots of group {group['id']}",
            lambda: [
                found
                for found in listed(self._manager(group[LEGACY]), group[LEGACY])
                if found["description"] == description and _group_of(found) == group["id"]
            ],
        )

    def marked(self) -> list[Resource]:
        """The group snapshots that carry the tag of any run, with the tag as their metadata."""
        return self._client.call(
            "Looking for group snapshots of runs",
            lambda: [
                found
                for legacy in (False, True)
                for found in with_tags(listed(self._manager(legacy), legacy))
            ],
        )

    def members(self, group: Resource, snapshot_id: str) -> list[Resource]:
        """The snapshots of the single volumes that make up a group snapshot.

        Cinder does not list them, and a project can have very many snapshots: so each volume of
        the group is asked for its own.
        """
        return [
            snapshot
            for volume in self._volumes.in_group(group["id"])
            for snapshot in self._snapshots.list(volume["id"])
            if snapshot["group_snapshot_id"] == snapshot_id
        ]

    def create(
        self, group: Resource, *, name: str, description: str, unanswered: Callable[[], None]
    ) -> Resource:
        """Ask for a snapshot of all volumes of the group. Does not wait for the snapshot.

        Cinder refuses it while it changes the group, so this waits for the end of the change.

        :param description: the tag, by which the snapshot is found again
        :param unanswered: called when a request had no answer, before it is repeated
        """
        self._groups.wait(group["id"])
        return self._client.call(
            f"Creating a snapshot of group {group['id']}",
            lambda: plain(
                self._manager(group[LEGACY]).create(group["id"], name=name, description=description)
            ),
            found=lambda: next(iter(self.described(group, description)), None),
            unanswered=unanswered,
        )

    def wait(self, group: Resource, snapshot_id: str) -> Resource:
        """Wait until the group snapshot is available.

        :raises WaitError: it is in an error state, or the wait took too long
        """
        return self._client.wait_for(
            lambda: self._get(group, snapshot_id),
            ("available",),
            what=f"Group snapshot {snapshot_id}",
            size_gib=self._size(group),
        )

    def delete(self, group: Resource, snapshot_id: str) -> None:
        """Delete the group snapshot and wait. It is no error if it is gone already.

        It never goes to another project, also if a volume of the group does: one that is not found
        is gone, with all its members, whoever deleted it.

        :raises WaitError: Cinder did not delete it, or not in time
        """
        self._client.delete(
            f"group snapshot {snapshot_id}",
            lambda: self._manager(group[LEGACY]).delete(snapshot_id),
            lambda: self._get(group, snapshot_id),
            size_gib=self._size(group),
        )

    def _size(self, group: Resource) -> int:
        """The size of all volumes of a group together, in GiB."""
        return sum(int(volume["size"]) for volume in self._volumes.in_group(group["id"]))

    def _get(self, group: Resource, snapshot_id: str) -> Resource:
        return self._client.call(
            f"Group snapshot {snapshot_id}",
            lambda: plain(self._manager(group[LEGACY]).get(snapshot_id), "status"),
        )

    def _manager(self, legacy: bool) -> Any:
        return self._api.cgsnapshots if legacy else self._api.group_snapshots


def _group_of(snapshot: Resource) -> str:
    return str(snapshot.get("group_id") or snapshot.get("consistencygroup_id"))
