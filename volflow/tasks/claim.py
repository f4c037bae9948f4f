"""The claim of a restore on the existing volume that it overwrites: a tag on that volume."""

from __future__ import annotations

from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import CLAIMED, KEPT, TAG_KEY, Mark, kind_of, tag_of
from volflow.cloud.volumes import require_usable
from volflow.errors import VolflowError, VolumeStateError
from volflow.tasks.as_left import is_half_written
from volflow.tasks.base import Temporary
from volflow.tasks.presence import give_back
from volflow.tasks.work import Work


class Claim(Temporary):
    """Makes sure that an existing volume is marked as this run's; its revert takes that back.

    The mark stays as long as the volume is half-written. It keeps others from using the volume as
    if it were complete, and shows that reverting to the safety snapshot loses nothing.
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
        known = self.services.ledger.find(self.tag)
        if self.work.is_ours(tag_of(volume)):
            had = known.details.get("had") if known else None
        else:
            require_usable(volume, ("available",))
            self._require_free(volume)
            # A volume that is kept is complete, and only its mark has not been removed yet.
            had = tag_of(volume) if kind_of(volume) != KEPT else None
        self.intend(volume_id=self._target_id, had=had)
        cinder.volumes.set_metadata(self._target_id, {TAG_KEY: self.tag})
        # Another run may have found it free at the same moment: the last tag counts.
        volume = cinder.volumes.get(self._target_id)
        self._require_free(volume)
        if tag_of(volume) != self.tag:
            raise VolumeStateError(
                f"Volume {self._target_id} does not keep the metadata key '{TAG_KEY}' that volflow "
                f"sets: somebody else has changed it to {tag_of(volume)!r}. Stop that, then start "
                "again."
            )
        self.present(self._target_id)
        return self._target_id

    def _require_free(self, volume: dict[str, Any]) -> None:
        """Make sure that no other run restores into the volume.

        What somebody else has written under volflow's key is no obstacle: it is put back later.
        """
        owner = Mark.of(volume)
        if owner is None or owner.kind == KEPT or self.work.is_ours(str(owner)):
            return
        if ownership.why_not_ours(self.work.cinder, volume, owner) is None:
            raise VolumeStateError(
                f"Volume {self._target_id} is being restored by another run of volflow ({owner}). "
                "Wait for that run, or resume or abort it; if it has ended, 'volflow leftover "
                "clean' reverts the volume. If its state database is lost, check whether the "
                f"volume is intact, and remove its metadata key '{TAG_KEY}'."
            )

    @classmethod
    def require_alone(cls, work: Work, volume_id: str, attachment_id: str) -> None:
        """Make sure that only this run writes to a volume that it has claimed.

        :param attachment_id: this run's own attachment
        :raises VolumeStateError: the tag is another run's or missing, or the volume has another
            attachment
        """
        owner = tag_of(work.cinder.volumes.get(volume_id))
        if owner != work.tag(cls.kind):
            raise VolumeStateError(
                f"Volume {volume_id} no longer carries the tag of this run, but "
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
                f"Volume {target_id} is half-written, and keeps its tag until it is reverted to "
                "its safety snapshot."
            )
        give_back(work, target_id, entry.details.get("had"))
