"""Volume groups in Cinder: Block Storage API 3.13.

Cinder has turned the consistency groups of older releases into volume groups. It keeps them apart
by a reserved group type, and only the API of consistency groups can change them. Here they are
groups like others; the field :data:`LEGACY` distinguishes the two kinds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cinderclient import exceptions
from oslo_utils.uuidutils import is_uuid_like

from volflow.cloud.answers import NoSuchPath
from volflow.cloud.client import Client, plain
from volflow.cloud.marks import TAG_KEY, is_described
from volflow.cloud.wait import Resource, existing
from volflow.errors import ResourceNotFoundError, UsageError

# The field that says whether a group is a consistency group of an older release.
LEGACY = "consistency_group"

# Cinder makes only one change to a group at a time, and refuses others in the meantime.
_CHANGES = threading.Lock()


class Groups:
    """The volume groups of a project, of either kind."""

    def __init__(self, client: Client) -> None:
        self._client, self._api = client, client.api

    def get(self, group_id: str) -> Resource:
        """The group with this id.

        :raises ResourceNotFoundError: it does not exist
        """

        def read() -> Resource:
            try:
                return plain(self._api.groups.get(group_id), "status") | {LEGACY: False}
            except exceptions.BadRequest:
                # Cinder's way to say that this group needs the API of consistency groups.
                return plain(self._api.consistencygroups.get(group_id), "status") | {LEGACY: True}

        return self._client.call(f"Group {group_id}", read)

    def find(self, name_or_id: str) -> Resource:
        """The group with this id or, if no group has it, with this name.

        :raises ResourceNotFoundError: no group has it
        :raises UsageError: several have that name
        """
        # Other names could mean something else in the URL of a request.
        found = existing(lambda: self.get(name_or_id)) if is_uuid_like(name_or_id) else None
        if found is not None:
            return found
        named = self._client.call(
            f"Looking for group '{name_or_id}'",
            lambda: [group for group in self._all() if group["name"] == name_or_id],
        )
        if not named:
            raise ResourceNotFoundError(
                f"No group has the id or name '{name_or_id}' in this project. "
                "'openstack volume group list' shows the existing ones."
            )
        if len(named) > 1:
            ids = ", ".join(sorted(group["id"] for group in named))
            raise UsageError(f"{len(named)} groups are named '{name_or_id}'; give an id: {ids}")
        return named[0]

    def type(self, group: Resource) -> Resource:
        """The type of a group; empty for a consistency group, which has none."""
        if group[LEGACY]:
            return {}
        return self._client.call(
            f"Type of group {group['id']}",
            lambda: plain(self._api.group_types.get(group["group_type"])),
        )

    def find_type(self, name: str) -> Resource:
        """The group type with this name.

        :raises ResourceNotFoundError: this cloud has no such type
        """
        types = self._client.list_all("Listing group types", lambda: self._api.group_types.list())
        for found in types:
            if found["name"] == name:
                return found
        names = ", ".join(sorted(found["name"] for found in types)) or "none"
        raise ResourceNotFoundError(f"This cloud has no group type '{name}'; it has: {names}.")

    def consistent(self, group: Resource) -> bool | None:
        """Whether Cinder promises that all volumes of a group are snapshotted at one moment.

        The driver of a consistency group promises it. For other groups the group type says so, to
        administrators only: None if this user cannot see it.
        """
        if group[LEGACY]:
            return True
        specs = self.type(group).get("group_specs")
        if specs is None:
            return None
        return bool(specs.get("consistent_group_snapshot_enabled") == "<is> True")

    def described(self, description: str) -> list[Resource]:
        """The groups that have this description."""
        return self._client.call(
            "Listing groups",
            lambda: [group for group in self._all() if group["description"] == description],
        )

    def marked(self) -> list[Resource]:
        """The groups that carry the tag of any run, with the tag as their metadata."""
        return self._client.call("Looking for groups of runs", lambda: with_tags(self._all()))

    def _all(self) -> Iterator[Resource]:
        for legacy in (False, True):
            yield from listed(self._manager(legacy), legacy)

    def create(
        self,
        group_type: str | None,
        volume_types: Sequence[str],
        *,
        name: str,
        description: str,
        availability_zone: str | None,
        unanswered: Callable[[], None],
    ) -> Resource:
        """Ask for a group. Does not wait.

        :param group_type: id of its type; None for a consistency group
        :param volume_types: ids of the types that its volumes may have
        :param description: the tag, by which the group is found again
        :param unanswered: called when a request had no answer, before it is repeated
        """
        types = ",".join(volume_types)
        more = {
            "name": name,
            "description": description,
            "availability_zone": availability_zone,
        }

        def create() -> Resource:
            if group_type is None:
                return plain(self._api.consistencygroups.create(types, **more))
            return plain(self._api.groups.create(group_type, types, **more))

        return self._client.call(
            f"Creating group '{name}'",
            create,
            found=lambda: next(iter(self.described(description)), None),
            unanswered=unanswered,
        )

    def wait(self, group_id: str, *, cleaning: bool = False) -> Resource:
        """Wait until the group is available.

        :param cleaning: this is part of cleaning up, which is never interrupted
        :raises WaitError: the group is in an error state, or the wait took too long
        """
        return self._client.wait_for(
            lambda: self.get(group_id),
            ("available",),
            what=f"Group {group_id}",
            cleaning=cleaning,
        )

    def update(self, group: Resource, **fields: Any) -> None:
        """Change the name, the description, or the volumes of a group, and wait.

        :param fields: ``add_volumes`` and ``remove_volumes`` take an id
        """

        def update() -> None:
            self.wait(group["id"], cleaning=True)
            if not self._has(group["id"], fields):
                self._manager(group[LEGACY]).update(group["id"], **fields)

        with _CHANGES:
            self._client.call(f"Updating group {group['id']}", update)
            self.wait(group["id"], cleaning=True)

    def _has(self, group_id: str, fields: Mapping[str, Any]) -> bool:
        """Whether volumes have been added to or removed from a group already.

        Cinder refuses to do that twice.
        """
        added, removed = fields.get("add_volumes"), fields.get("remove_volumes")
        if not added and not removed:
            return False
        found = plain(self._api.volumes.get(added or removed)).get("group_id")
        return found == group_id if added else found != group_id

    def delete(self, group: Resource) -> None:
        """Delete a group without volumes, and wait. It is no error if it is gone already.

        A group never goes to another project: one that is not found is gone, whoever deleted it.
        """
        self._client.delete(
            f"group {group['id']}",
            lambda: self._manager(group[LEGACY]).delete(group["id"]),
            lambda: self.get(group["id"]),
        )

    def remove_volume(self, volume: Resource) -> None:
        """Remove a volume from its group, if it is in one."""
        if volume.get("group_id"):
            self.update(self.get(volume["group_id"]), remove_volumes=volume["id"])

    def _manager(self, legacy: bool) -> Any:
        return self._api.consistencygroups if legacy else self._api.groups


def own_project(group: Resource, project_id: str | None) -> bool:
    """Whether a group belongs to this project, as far as Cinder says: to administrators only."""
    return group.get("project_id") in (None, project_id)


def takes(group: Mapping[str, Any], volume_type_id: str) -> bool:
    """Whether volumes of a type may be in a group."""
    return volume_type_id in group["volume_types"]


def with_tags(found: Iterator[Resource]) -> list[Resource]:
    """The groups or group snapshots with a run's tag as description, shown as their metadata."""
    return [
        resource | {"metadata": {TAG_KEY: resource["description"]}}
        for resource in found
        if is_described(resource)
    ]


def listed(manager: Any, legacy: bool) -> Iterator[Resource]:
    """Everything that a manager lists. Here neither the API nor the client follows pages.

    :param manager: python-cinderclient's, of groups or their snapshots
    :param legacy: whether it is of consistency groups
    """
    seen: set[str] = set()
    marker: dict[str, str] = {}
    while True:
        try:
            page = [plain(one) | {LEGACY: legacy} for one in manager.list(search_opts=marker)]
        except (NoSuchPath, exceptions.NotFound):
            if legacy:
                return  # this Cinder no longer has consistency groups
            raise
        fresh = [one for one in page if one["id"] not in seen]
        if not fresh:
            return
        yield from fresh
        seen.update(one["id"] for one in fresh)
        marker = {"marker": page[-1]["id"]}
