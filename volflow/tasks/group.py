"""The group snapshot that the volumes of a group share, and the group that restored ones share."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.groups import LEGACY
from volflow.cloud.wait import existing
from volflow.errors import CloudError, ResourceNotFoundError, VolumeStateError
from volflow.printable import bounded
from volflow.repositories.manifest import Manifest
from volflow.tasks.base import Step
from volflow.tasks.quiesce import doubt_earlier, quiesced
from volflow.tasks.requested import Requested
from volflow.tasks.source import why_half_restored
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# In the snapshot of a member: why its volume must not be backed up.
_REFUSED = "volflow_refused"


class GroupSnapshot(Requested):
    """Makes sure that one snapshot of all volumes of the group exists.

    It is deleted when the flow of its volumes has ended: the failure of one volume must not take
    the snapshot away from the others.
    """

    kind = "group snapshot"
    step = "group snapshot"
    default_provides = "snapshots"

    def execute(self) -> dict[str, dict[str, Any]]:
        """The members' snapshots, by volume id."""
        snapshots = self.work.cinder.group_snapshots
        group = self.work.cinder.groups.get(self.work.volume_id)
        # A restore can begin at any moment: its volume fails, and the others do not.
        half_restored = self._half_restored(group)
        entry = self.intend()
        found = _of_entry(snapshots.described(group, self.tag), entry)
        # Group snapshots have no metadata: the description carries the tag.
        name = ownership.temporary_name(self.services.run_id)
        found = [one for one in found if entry.resource_id or one["name"] == name]
        members = self.work.cinder.volumes.in_group(group["id"])
        if found:
            doubt_earlier(self.work, members)
            snapshot = self._made(group, found[0])
        else:
            # Guests are not frozen while somebody else changes the group.
            self.work.cinder.groups.wait(group["id"])
            with quiesced(self.work, members, group["id"]):
                requested = snapshots.create(
                    group, name=name, description=self.tag, unanswered=self.unanswered
                )
                snapshot = self._made(group, requested)
        half_restored |= self._half_restored(group)
        return {
            s["volume_id"]: s | half_restored.get(s["volume_id"], {})
            for s in snapshots.members(group, snapshot["id"])
        }

    def _made(self, group: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
        self.present(snapshot["id"])
        # Cinder's answer to the request does not have the time.
        made = self.work.cinder.group_snapshots.wait(group, snapshot["id"])
        self.present(snapshot["id"], **{ownership.MADE_AT: made["created_at"]})
        return made

    def _half_restored(self, group: dict[str, Any]) -> dict[str, dict[str, str]]:
        """Why the snapshots of some members must not be used, by volume id."""
        cinder = self.work.cinder
        members = cinder.volumes.in_group(group["id"])
        found = {volume["id"]: why_half_restored(cinder, volume) for volume in members}
        return {volume_id: {_REFUSED: why} for volume_id, why in found.items() if why}

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        group = existing(lambda: work.cinder.groups.get(work.volume_id))
        if group is None:
            return  # a group that has snapshots cannot be deleted
        name = ownership.temporary_name(entry.run_id)
        for snapshot in work.cinder.group_snapshots.described(group, entry.tag):
            named = snapshot["id"] == entry.resource_id or snapshot["name"] == name
            if named and ownership.is_of_request(snapshot, entry):
                work.cinder.group_snapshots.delete(group, snapshot["id"])


class MemberSnapshot(Step):
    """Finds the snapshot of this volume in the group snapshot. Makes nothing."""

    step = "snapshot"
    default_provides = "snapshot"

    def __init__(self, work: Work, group: GroupSnapshot) -> None:
        super().__init__(work, rebind={"snapshots": group.symbol("snapshots")})

    def execute(self, snapshots: dict[str, dict[str, Any]]) -> dict[str, Any]:
        if self.work.volume_id not in snapshots:
            raise ResourceNotFoundError(
                f"The group snapshot has no snapshot of volume {self.work.volume_id}: the volume "
                "has left the group since the run began."
            )
        snapshot = snapshots[self.work.volume_id]
        if snapshot.get(_REFUSED):
            raise VolumeStateError(snapshot[_REFUSED])
        return snapshot


@dataclass(frozen=True)
class GroupWanted:
    """The group that restored volumes shall be in.

    :ivar was: the group in the backup
    :ivar type_name: the name of its group type in the backup
    :ivar volume_types: the volume types that its volumes may have, by this cloud's names
    :ivar availability_zone: the zone to create it in
    """

    was: Mapping[str, Any]
    type_name: str
    volume_types: Sequence[str]
    availability_zone: str | None

    @classmethod
    def of(cls, manifests: Sequence[Manifest]) -> GroupWanted:
        """The group of volumes that were in one group when they were backed up."""
        first = manifests[0]
        # Each volume's own type is one of them, whatever this user could see.
        own = [str(manifest.volume["volume_type"]) for manifest in manifests]
        names = [*first.group_volume_types, *own]
        return cls(
            first.group,
            str(first.group_type.get("name") or ""),
            list(dict.fromkeys(names)),
            first.group["availability_zone"],
        )


class RestoredGroup(Requested):
    """Makes sure that the group that restored volumes shall be in exists.

    An existing group is not changed. A new group is deleted again if no volume is in it when the
    flow has ended. A group that cannot be created fails no volume: the volumes are restored
    without it, and their results say why.

    :param wanted: the properties of the group
    :param anew: whether to create it; otherwise it exists
    """

    kind = "group"
    step = "group"
    default_provides = "group"

    def __init__(self, work: Work, wanted: GroupWanted, *, anew: bool) -> None:
        super().__init__(work)
        self._wanted, self._anew = wanted, anew

    def execute(self) -> dict[str, Any]:
        """The id and volume types of the group; or no id, and why there is no group."""
        try:
            group = self._ensure() if self._anew else self._existing()
        except CloudError as error:
            LOG.warning("Group %s is not restored: %s", self._wanted.was["id"], error)
            return {"id": None, "why": bounded(str(error))}
        return {"id": group["id"], "volume_types": group["volume_types"]}

    def _existing(self) -> dict[str, Any]:
        return self.work.cinder.groups.get(self._wanted.was["id"])

    def _ensure(self) -> dict[str, Any]:
        groups, wanted = self.work.cinder.groups, self._wanted
        entry = self.intend(description=wanted.was["description"])
        found = _of_entry(groups.described(self.tag), entry)
        if not found:
            legacy = bool(wanted.was.get(LEGACY))
            types = [self.work.cinder.types.find(name) for name in wanted.volume_types]
            found = [
                groups.create(
                    None if legacy else groups.find_type(wanted.type_name)["id"],
                    [each["id"] for each in types],
                    name=wanted.was["name"],
                    # Groups have no metadata: until the flow has ended the description is the tag.
                    description=self.tag,
                    availability_zone=wanted.availability_zone,
                    unanswered=self.unanswered,
                )
            ]
        kept = {"description": wanted.was["description"]}
        self.present(found[0]["id"], **kept)
        # Cinder's answer to the request does not have the time.
        made = groups.wait(found[0]["id"])
        self.present(made["id"], **kept, **{ownership.MADE_AT: made["created_at"]})
        LOG.info(
            "Group %s (%s) was created again as %s", made["name"], wanted.was["id"], made["id"]
        )
        return made

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        groups = work.cinder.groups
        for group in groups.described(entry.tag):
            if not ownership.is_of_request(group, entry):
                continue
            if work.cinder.volumes.in_group(group["id"]):
                # From here on it belongs to the tenant, like the volumes in it.
                groups.update(group, description=entry.details.get("description") or "")
            else:
                groups.delete(group)


def _of_entry(found: Sequence[dict[str, Any]], entry: Entry) -> list[dict[str, Any]]:
    """Of resources with the tag of a step, those that its entry in the ledger names."""
    return [one for one in found if entry.resource_id in (None, one["id"])]


class Join(Step):
    """Adds an existing volume to its group again.

    There is nothing to revert: it runs when the restored data stays. A failure does not fail the
    restore; the comparison of the properties reports that the volume is in no group.
    """

    step = "join group"
    default_provides = "joining"

    def __init__(self, work: Work, group: RestoredGroup) -> None:
        super().__init__(work, rebind={"group": group.symbol("group")})

    def execute(self, clone_id: str, group: dict[str, Any]) -> str:
        """Why the volume did not join the group; empty if it did."""
        cinder, groups = self.work.cinder, self.work.cinder.groups
        if group["id"] is None or cinder.volumes.get(clone_id).get("group_id"):
            return ""
        try:
            groups.update(groups.get(group["id"]), add_volumes=clone_id)
        except CloudError as error:
            LOG.warning("Volume %s was not added to its group: %s", clone_id, error)
            return bounded(str(error))
        return ""
