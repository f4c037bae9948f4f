"""The volume groups of the fake Cinder, its consistency groups, and their snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cinderclient import exceptions

from tests.support.fake_cinder.manager import CREATED, Manager, Resource
from tests.support.fake_cinder.snapshots import Snapshots
from tests.support.fake_cinder.volumes import Volumes


class Groups(Manager):
    """Volume groups, or consistency groups.

    :param legacy: where these are volume groups: the consistency groups
    """

    def __init__(
        self, done: list[str], name: str, volumes: Volumes, legacy: Groups | None = None
    ) -> None:
        super().__init__(done, name)
        self._volumes, self._legacy = volumes, legacy

    def get(self, resource_id: str) -> Resource:
        if self._legacy is not None and resource_id in self._legacy:
            raise exceptions.BadRequest(400, "use the API of consistency groups")
        return super().get(resource_id)

    def list(self, search_opts: Mapping[str, Any] | None = None) -> list[Resource]:
        return self._all()

    def create(self, group_type: str, volume_types: str | None = None, **asked: Any) -> Resource:
        if self._legacy is None:
            group_type, volume_types = "", group_type
        group = {
            "name": "",
            "description": None,
            "status": "available",
            "group_type": group_type,
            "volume_types": volume_types.split(",") if volume_types else [],
            "availability_zone": "nova",
            "created_at": CREATED,
        }
        return _summary(self._add(group | asked))

    def update(
        self,
        group_id: str,
        *,
        add_volumes: str | None = None,
        remove_volumes: str | None = None,
        **fields: Any,
    ) -> None:
        self.get(group_id)
        self._note("update", group_id)
        self[group_id].update(fields)
        for volume_id, group in ((add_volumes, group_id), (remove_volumes, None)):
            if volume_id:
                self._volumes[volume_id]["group_id"] = group


class GroupSnapshots(Manager):
    """Snapshots of groups, each with one snapshot for each volume."""

    def __init__(self, done: list[str], name: str, volumes: Volumes, snapshots: Snapshots) -> None:
        super().__init__(done, name)
        self._volumes, self._snapshots = volumes, snapshots

    def list(self, search_opts: Mapping[str, Any] | None = None) -> list[Resource]:
        return self._all()

    def create(self, group_id: str, **asked: Any) -> Resource:
        made = self._add(
            {"group_id": group_id, "status": "available", "created_at": CREATED} | asked
        )
        for volume in self._volumes.list(search_opts={"group_id": group_id}):
            self._snapshots.create(volume.id, group_snapshot_id=made.id)
        return _summary(made)

    def delete(self, resource_id: str) -> None:
        super().delete(resource_id)
        for snapshot in self._snapshots.list():
            if snapshot.group_snapshot_id == resource_id:
                self._snapshots.delete(snapshot.id)


def _summary(made: Resource) -> Resource:
    """Cinder's answer to a request to make a group or a group snapshot."""
    shown = made.to_dict()
    return Resource({key: shown.get(key) for key in ("id", "name")})
