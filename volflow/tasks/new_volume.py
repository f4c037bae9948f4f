"""The new volume that a restore creates and writes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.groups import takes
from volflow.cloud.marks import ALIVE_KEY, ID_KEY, KEPT, RESTORED, TAG_KEY, foreign_value, tag_of
from volflow.cloud.properties import own_metadata
from volflow.errors import VolumeStateError
from volflow.repositories.manifest import Manifest
from volflow.tasks import as_left
from volflow.tasks.base import Step
from volflow.tasks.group import RestoredGroup
from volflow.tasks.presence import delete_volume, earlier_volume, give_back, volumes_to_remove
from volflow.tasks.requested import Requested
from volflow.tasks.work import Work


def _keep(volume_id: str) -> str:
    return (
        "Its restore failed, so it is incomplete; but somebody may use it. 'volflow leftover clean "
        f"--changed {volume_id}' deletes it. To keep it, remove its metadata key '{TAG_KEY}' "
        "before that."
    )


class NewVolume(Requested):
    """Makes sure that a new volume like the one in the backup exists; its revert deletes it.

    It is temporary until the restore is complete; from then on it belongs to the tenant.
    """

    kind = RESTORED
    step = "new volume"
    default_provides = "clone_id"

    def __init__(
        self, work: Work, manifest: Manifest, rebind: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(work, rebind=rebind)
        self._manifest = manifest

    def _had(self) -> str | None:
        """What the tenant had under volflow's metadata key, which is put back."""
        return foreign_value(self._manifest.volume)

    def execute(self) -> str:
        return self._ensure(**self._as_in_backup())

    def _as_in_backup(self) -> dict[str, Any]:
        was = self._manifest.volume
        return {
            "size": self._manifest.size_gib,
            "name": was["name"],
            "description": was["description"],
            "volume_type": was["volume_type"],
            "availability_zone": was["availability_zone"],
            "metadata": {**own_metadata(was), TAG_KEY: self.tag},
        }

    def _ensure(self, **properties: Any) -> str:
        cinder, known = self.work.cinder, self.services.ledger.find(self.tag)
        entry = self.intend(**(known.details if known else {}))
        volume, made = earlier_volume(self.work, entry, properties.get("snapshot_id")), False
        if volume is None:
            volume, made = cinder.volumes.create(unanswered=self.unanswered, **properties), True
        details = entry.details | {ownership.MADE_AT: volume["created_at"]}
        if made or as_left.LEFT not in details:
            details |= as_left.begun(int(volume["size"]))
        self.present(volume["id"], **details)
        if volume["metadata"].get(ID_KEY) != volume["id"]:
            # For those who do not see this ledger: a copy of the metadata has another id.
            cinder.volumes.set_metadata(volume["id"], {ID_KEY: volume["id"]})
        volume = cinder.volumes.wait(volume["id"], what="New volume")
        if as_left.LEFT not in details:
            as_left.note(self.work, self.tag, **as_left.made(volume))
        if volume["encrypted"]:
            raise VolumeStateError(
                f"The new volume is of the type '{volume['volume_type']}', which Cinder encrypts; "
                "volflow cannot fill it yet. Choose another type with --type-map."
            )
        return str(volume["id"])

    def keep(self, volume_id: str) -> None:
        """Hand the volume over to the tenant: from here on nothing deletes it."""
        # For those who do not see this ledger.
        self.work.cinder.volumes.set_metadata(volume_id, {TAG_KEY: self.work.tag(KEPT)})
        known = self.services.ledger.find(self.tag)
        made_at = known.details.get(ownership.MADE_AT) if known else None
        self.present(volume_id, kept=True, had=self._had(), **{ownership.MADE_AT: made_at})
        self.dispose(self.work, self.tag)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder = work.cinder
        kept = str(entry.resource_id) if entry.details.get("kept") else None
        if kept:
            volume = cinder.volumes.existing(kept)
            # Meanwhile the tenant may have deleted it, or another run may restore into it.
            if volume and work.is_ours(tag_of(volume)):
                give_back(work, kept, entry.details.get("had"), [ALIVE_KEY, ID_KEY])
            # A request that was sent again may have created two volumes.
            found = [one for one in cinder.volumes.tagged(entry.tag) if one["id"] != kept]
            volumes = ownership.to_remove(cinder, found, entry)
        else:
            # A process that was killed may have marked it as kept before the ledger had it so.
            volumes = volumes_to_remove(work, entry, also=work.tag(KEPT))
        for volume in volumes:
            if volume["id"] == entry.resource_id or not entry.resource_id:
                as_left.require(work, volume["id"], entry.tag, _keep(volume["id"]))
            with as_left.touching(work, volume["id"]):
                # Cinder does not delete a volume that is in a group.
                cinder.groups.remove_volume(volume)
                delete_volume(work, entry, volume)


class MemberVolume(NewVolume):
    """Makes sure that a new volume exists in the group that restored volumes share.

    It is created in the group, so that the scheduler puts it where the group is.
    """

    def __init__(self, work: Work, manifest: Manifest, group: RestoredGroup) -> None:
        super().__init__(work, manifest, rebind={"group": group.symbol("group")})

    def execute(self, group: dict[str, Any]) -> str:  # type: ignore[override]
        properties = self._as_in_backup()
        if group["id"] is not None:
            volume_type = self.work.cinder.types.find(properties["volume_type"])
            if takes(group, volume_type["id"]):
                properties["group_id"] = group["id"]
        return self._ensure(**properties)


class CopiedVolume(NewVolume):
    """Makes sure that a copy of an attached volume exists; its revert deletes the copy."""

    step = "copied volume"

    def __init__(self, work: Work, manifest: Manifest, source: dict[str, Any]) -> None:
        super().__init__(work, manifest)
        self._source = source

    def _had(self) -> str | None:
        return foreign_value(self._source)

    def execute(self, snapshot: dict[str, Any]) -> str:  # type: ignore[override]
        return self._ensure(
            size=snapshot["size"],
            snapshot_id=snapshot["id"],
            name=self._source["name"],
            description=self._source["description"],
            availability_zone=self._source["availability_zone"],
            metadata={**own_metadata(self._source), TAG_KEY: self.tag},
        )


class KeepVolume(Step):
    """Hands the new volume over to the tenant: from here on nothing deletes it."""

    step = "keep"

    def __init__(self, target: NewVolume) -> None:
        super().__init__(target.work)
        self._target = target

    def execute(self, clone_id: str) -> None:
        self._target.keep(clone_id)
