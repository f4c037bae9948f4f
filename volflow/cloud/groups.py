"""Volume groups, as volflow uses them: Block Storage API 3.13 and 3.14.

Cinder has made volume groups of the consistency groups of old. It keeps them apart by a reserved
group type, and lets only the API of consistency groups work with them. Here they are groups like
others: :data:`LEGACY` tells which they are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cinderclient import exceptions

from volflow.cloud.cinder import Cinder, translated
from volflow.cloud.marks import TAG_KEY, is_described
from volflow.cloud.wait import Resource
from volflow.errors import ResourceNotFoundError

# The field that tells whether a group is a consistency group of old.
LEGACY = "consistency_group"

# Cinder changes one thing of a group at a time, and refuses the next meanwhile.
_CHANGES = threading.Lock()


class Groups:
    """The groups of a project, and their snapshots.

    :param cinder: block storage in the project
    """

    def __init__(self, cinder: Cinder) -> None:
        self._cinder = cinder
        self._client = cinder.client

    def get(self, group_id: str) -> Resource:
        """The group of that id, of either kind.

        :raises ResourceNotFoundError: there is none
        """
        with translated(f"Group {group_id}"):
            try:
                return _plain(self._client.groups.get(group_id), legacy=False)
            except exceptions.BadRequest:
                # Thus Cinder says that the API of consistency groups is the one for it.
                found = self._client.consistencygroups.get(group_id)
            return _plain(found, legacy=True)

    def type(self, group: Resource) -> Resource:
        """The type of a group; nothing for a consistency group of old, which has none."""
        if group[LEGACY]:
            return {}
        with translated(f"Type of group {group['id']}"):
            return _plain(self._client.group_types.get(group["group_type"]))

    def find_type(self, name: str) -> Resource:
        """The group type of that name.

        :raises ResourceNotFoundError: this cloud has none of that name
        """
        with translated("Listing group types"):
            types = [_plain(found) for found in self._client.group_types.list()]
        for found in types:
            if found["name"] == name:
                return found
        names = ", ".join(sorted(found["name"] for found in types)) or "none"
        raise ResourceNotFoundError(f"This cloud has no group type '{name}'; it has: {names}.")

    def consistent(self, group: Resource) -> bool | None:
        """Whether it is promised that the volumes of a group are snapshotted at one moment.

        A consistency group's driver promises it. The promise of a group type Cinder shows to
        administrators alone: None where this user cannot see it.
        """
        if group[LEGACY]:
            return True
        specs = self.type(group).get("group_specs")
        if specs is None:
            return None
        return bool(specs.get("consistent_group_snapshot_enabled") == "<is> True")

    def described(self, description: str) -> list[Resource]:
        """The groups that have this description, of either kind."""
        with translated("Listing groups"):
            return [group for group in self._all() if group["description"] == description]

    def marked(self) -> list[Resource]:
        """The groups and group snapshots that any run has marked as its own.

        They have no metadata: the description carries the tag, here shown as metadata would be.
        """
        with translated("Looking for groups of runs"):
            found = [*self._all()]
            for legacy in (False, True):
                found += _listed(self._snapshots(legacy), legacy)
        return [
            resource | {"metadata": {TAG_KEY: resource["description"]}}
            for resource in found
            if is_described(resource)
        ]

    def _all(self) -> Iterator[Resource]:
        for legacy in (False, True):
            yield from _listed(self._groups(legacy), legacy)

    def create(
        self,
        group_type: str | None,
        volume_types: Sequence[str],
        *,
        name: str,
        description: str,
        availability_zone: str | None,
    ) -> Resource:
        """Ask for a group. Does not wait.

        :param group_type: id of its type; None for a consistency group of old
        :param volume_types: ids of the types that its volumes may have
        """
        types = ",".join(volume_types)
        more = {
            "name": name,
            "description": description,
            "availability_zone": availability_zone,
        }
        with translated(f"Creating group '{name}'"):
            if group_type is None:
                return _plain(self._client.consistencygroups.create(types, **more))
            return _plain(self._client.groups.create(group_type, types, **more))

    def wait(self, group_id: str, *, cleaning: bool = False) -> Resource:
        """Wait until the group is available.

        :param cleaning: this is part of cleaning up, and not to be interrupted
        """
        return self._cinder.wait_for(
            lambda: self.get(group_id),
            ("available",),
            what=f"Group {group_id}",
            cleaning=cleaning,
        )

    def update(self, group: Resource, **fields: Any) -> None:
        """Change the name, the description, or the volumes of a group, and wait.

        :param fields: ``add_volumes`` and ``remove_volumes`` take an id
        """
        with _CHANGES:
            self.wait(group["id"], cleaning=True)
            with translated(f"Updating group {group['id']}"):
                self._groups(group[LEGACY]).update(group["id"], **fields)
            self.wait(group["id"], cleaning=True)

    def delete(self, group: Resource) -> None:
        """Delete a group that holds no volume, and wait. One that is gone is fine."""
        self._cinder.delete(
            f"group {group['id']}",
            lambda: self._groups(group[LEGACY]).delete(group["id"]),
            lambda: self.get(group["id"]),
        )

    def leave(self, volume: Resource) -> None:
        """Take a volume out of its group, if it is in one."""
        if volume.get("group_id"):
            self.update(self.get(volume["group_id"]), remove_volumes=volume["id"])

    # Snapshots of all volumes of a group

    def snapshots(self, group: Resource, description: str) -> list[Resource]:
        """The snapshots of a group that have this description."""
        with translated(f"Listing snapshots of group {group['id']}"):
            return [
                found
                for found in _listed(self._snapshots(group[LEGACY]), group[LEGACY])
                if found["description"] == description and _of(found) == group["id"]
            ]

    def members(self, group: Resource, snapshot_id: str) -> list[Resource]:
        """The volumes' own snapshots of which a group snapshot is made.

        Cinder does not list them, and all snapshots of a project can be very many: so each
        volume of the group is asked for its own.
        """
        return [
            snapshot
            for volume in self._cinder.group_volumes(group["id"])
            for snapshot in self._cinder.snapshots(volume["id"])
            if snapshot["group_snapshot_id"] == snapshot_id
        ]

    def snapshot(self, group: Resource, name: str, description: str) -> Resource:
        """Ask for a snapshot of all volumes of the group. Does not wait."""
        with translated(f"Creating a snapshot of group {group['id']}"):
            made = self._snapshots(group[LEGACY]).create(
                group["id"], name=name, description=description
            )
        return _plain(made)

    def wait_snapshot(self, group: Resource, snapshot_id: str) -> Resource:
        """Wait until the group snapshot is available."""
        return self._cinder.wait_for(
            lambda: self._snapshot(group, snapshot_id),
            ("available",),
            what=f"Group snapshot {snapshot_id}",
            size_gib=self._size(group),
        )

    def delete_snapshot(self, group: Resource, snapshot_id: str) -> None:
        """Delete the group snapshot and wait until it is gone. One that is gone is fine."""
        self._cinder.delete(
            f"group snapshot {snapshot_id}",
            lambda: self._snapshots(group[LEGACY]).delete(snapshot_id),
            lambda: self._snapshot(group, snapshot_id),
            size_gib=self._size(group),
        )

    def _size(self, group: Resource) -> int:
        """What the volumes of a group have together, in GiB."""
        return sum(int(volume["size"]) for volume in self._cinder.group_volumes(group["id"]))

    def _snapshot(self, group: Resource, snapshot_id: str) -> Resource:
        with translated(f"Group snapshot {snapshot_id}"):
            return _plain(self._snapshots(group[LEGACY]).get(snapshot_id))

    def _groups(self, legacy: bool) -> Any:
        return self._client.consistencygroups if legacy else self._client.groups

    def _snapshots(self, legacy: bool) -> Any:
        return self._client.cgsnapshots if legacy else self._client.group_snapshots


def own_project(group: Resource, project_id: str | None) -> bool:
    """Whether a group is this project's, as far as Cinder says: to administrators alone."""
    return group.get("project_id") in (None, project_id)


def takes(group: Mapping[str, Any], volume_type_id: str) -> bool:
    """Whether volumes of a type may be in a group."""
    return volume_type_id in group["volume_types"]


def _listed(manager: Any, legacy: bool) -> Iterator[Resource]:
    """Everything that a manager lists: here neither the API nor the client follows pages."""
    seen: set[str] = set()
    marker: dict[str, str] = {}
    while True:
        try:
            page = [_plain(one, legacy=legacy) for one in manager.list(search_opts=marker)]
        except exceptions.NotFound:
            if legacy:
                return  # a Cinder that has no consistency groups any more
            raise
        fresh = [one for one in page if one["id"] not in seen]
        if not fresh:
            return
        yield from fresh
        seen.update(one["id"] for one in fresh)
        marker = {"marker": page[-1]["id"]}


def _of(snapshot: Resource) -> str:
    """The group that a snapshot is of."""
    return str(snapshot.get("group_id") or snapshot.get("consistencygroup_id"))


def _plain(resource: Any, *, legacy: bool | None = None) -> Resource:
    found = {k: v for k, v in resource.to_dict().items() if k != "x_openstack_request_ids"}
    return found if legacy is None else found | {LEGACY: legacy}
