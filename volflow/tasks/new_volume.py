"""The volume that a restore writes to: a new one, or one that is there and is claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from persistence import Entry
from volflow.cloud.groups import takes
from volflow.cloud.marks import ALIVE_KEY, CLAIMED, KEPT, RESTORED, TAG_KEY, kind_of, tag_of
from volflow.cloud.properties import own_metadata
from volflow.cloud.volumes import require_usable
from volflow.errors import VolflowError, VolumeStateError
from volflow.repositories.manifest import Manifest
from volflow.tasks.base import Step, Temporary
from volflow.tasks.group import RestoredGroup
from volflow.tasks.safety_snapshot import is_half_written
from volflow.tasks.work import Work


class NewVolume(Temporary):
    """Makes sure that there is a new volume like the one backed up; its revert deletes it.

    It is temporary until the restore is complete.
    """

    kind = RESTORED
    step = "new volume"
    default_provides = "clone_id"

    def __init__(
        self, work: Work, manifest: Manifest, rebind: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(work, rebind=rebind)
        self._manifest = manifest

    def execute(self) -> str:
        return self._ensure(**self._like_before())

    def _like_before(self) -> dict[str, Any]:
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
        cinder = self.work.cinder
        self.intend()
        found = cinder.volumes.tagged(self.tag)
        volume = found[0] if found else cinder.volumes.create(**properties)
        self.present(volume["id"])
        volume = cinder.volumes.wait(volume["id"], what="New volume")
        if volume["encrypted"]:
            raise VolumeStateError(
                f"The new volume is of the type '{volume['volume_type']}', which Cinder encrypts; "
                "volflow cannot fill it yet. Choose another type with --type-map."
            )
        return str(volume["id"])

    def keep(self, volume_id: str) -> None:
        """The volume is the tenant's for good: from here on nothing deletes it."""
        # For those who do not see this ledger.
        self.work.cinder.volumes.set_metadata(volume_id, {TAG_KEY: self.work.tag(KEPT)})
        self.present(volume_id, kept=True)
        self.dispose(self.work, self.tag)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder = work.cinder
        kept = str(entry.resource_id) if entry.details.get("kept") else None
        if kept:
            volume = cinder.volumes.existing(kept)
            # The tenant may have removed it, or another run may restore into it by now.
            if volume and work.is_ours(tag_of(volume)):
                cinder.volumes.delete_metadata(kept, [TAG_KEY, ALIVE_KEY])
        # A process that was killed may have marked one as kept that the ledger does not.
        for tag in [entry.tag] if kept else [entry.tag, work.tag(KEPT)]:
            # A request for it that was sent again may have made it twice.
            for volume in cinder.volumes.tagged(tag):
                if volume["id"] != kept:
                    # Cinder deletes none that is in a group.
                    cinder.groups.remove_volume(volume)
                    cinder.volumes.delete(volume["id"])


class MemberVolume(NewVolume):
    """Makes sure that there is a new volume in the group that restored volumes share.

    It is made in the group, so that the scheduler puts it where the group is.
    """

    def __init__(self, work: Work, manifest: Manifest, group: RestoredGroup) -> None:
        super().__init__(work, manifest, rebind={"group": group.symbol("group")})

    def execute(self, group: dict[str, Any]) -> str:  # type: ignore[override]
        properties = self._like_before()
        if group["id"] is not None:
            volume_type = self.work.cinder.types.find(properties["volume_type"])
            if takes(group, volume_type["id"]):
                properties["group_id"] = group["id"]
        return self._ensure(**properties)


class CopiedVolume(NewVolume):
    """Makes sure that there is a copy of a volume that is attached; its revert deletes the copy."""

    step = "copied volume"

    def __init__(self, work: Work, manifest: Manifest, source: dict[str, Any]) -> None:
        super().__init__(work, manifest)
        self._source = source

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
    """Makes a new volume the tenant's for good: from here on nothing deletes it."""

    step = "keep"

    def __init__(self, target: NewVolume) -> None:
        super().__init__(target.work)
        self._target = target

    def execute(self, clone_id: str) -> None:
        self._target.keep(clone_id)


class Claim(Temporary):
    """Makes sure that an existing volume is marked as this run's; its revert takes that back.

    The mark stays for as long as the volume is half-written: it keeps others from using it as if
    it were whole, and tells that going back to the safety snapshot loses nothing.
    """

    kind = CLAIMED
    step = "claim"
    default_provides = "clone_id"

    def __init__(self, work: Work, target_id: str) -> None:
        super().__init__(work)
        self._target_id = target_id

    def execute(self) -> str:
        cinder = self.work.cinder
        volume = cinder.volumes.get(self._target_id)
        if not self.work.is_ours(tag_of(volume)):
            require_usable(volume, ("available",))
            # One that is kept is whole, and only its mark is left.
            if kind_of(volume) != KEPT:
                self._require_free(volume)
        self.intend(volume_id=self._target_id)
        cinder.volumes.set_metadata(self._target_id, {TAG_KEY: self.tag})
        # Another run may have found it free at the same moment: the last mark counts.
        self._require_free(cinder.volumes.get(self._target_id))
        self.present(self._target_id)
        return self._target_id

    def _require_free(self, volume: dict[str, Any]) -> None:
        owner = tag_of(volume)
        if owner and not self.work.is_ours(owner):
            raise VolumeStateError(
                f"Volume {self._target_id} is being restored by another run of volflow ({owner}). "
                "Wait for that run, or resume or abort it; if it has ended, 'volflow leftover "
                "clean' brings back what was there. If its state database is lost, look whether "
                f"the volume is whole, and remove its metadata key '{TAG_KEY}'."
            )

    @classmethod
    def require_alone(cls, work: Work, volume_id: str, attachment_id: str) -> None:
        """Make sure that nobody but this run writes to a volume that it has claimed.

        :param attachment_id: that of this run
        :raises VolumeStateError: the mark is another's or is off, or there is another attachment
        """
        owner = tag_of(work.cinder.volumes.get(volume_id))
        if owner != work.tag(cls.kind):
            raise VolumeStateError(
                f"Volume {volume_id} does not carry the mark of this run any more, but "
                f"{f'that of another ({owner})' if owner else 'none'}: others may use it."
            )
        attached = [a["id"] for a in work.cinder.attachments.list(volume_id)]
        others = [one for one in attached if one != attachment_id]
        if others:
            raise VolumeStateError(
                f"Volume {volume_id} was attached elsewhere since the restore began (attachment "
                f"{', '.join(others)}), so nothing is written to it. Detach it and start again."
            )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder, target_id = work.cinder, str(entry.details["volume_id"])
        volume = cinder.volumes.existing(target_id)
        if volume is None or tag_of(volume) != entry.tag:
            return
        if is_half_written(work):
            raise VolflowError(
                f"Volume {target_id} is half-written, and keeps its mark until it is back to its "
                "safety snapshot."
            )
        cinder.volumes.delete_metadata(target_id, [TAG_KEY])
