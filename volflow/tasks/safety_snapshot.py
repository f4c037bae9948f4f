"""The safety snapshot of an existing volume, to which it is reverted when the restore fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import SAFETY, TAG_KEY, tag_of
from volflow.errors import ChangedError, CloudError, StoppedError, VolflowError
from volflow.tasks import as_left
from volflow.tasks.as_left import OVERWRITE, is_half_written
from volflow.tasks.base import Step
from volflow.tasks.copy_back import copy_back, release
from volflow.tasks.presence import delete_snapshot, earlier_snapshot, snapshots_to_remove
from volflow.tasks.remarks import Remark
from volflow.tasks.requested import Requested
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# Answers 4xx that say nothing about the request: they concern the login, or ask for patience.
_NO_REFUSAL = (401, 408, 413, 425, 429)


class SafetySnapshot(Requested):
    """Makes sure that the snapshot exists before the target is overwritten.

    Its revert first reverts the target to the snapshot, if anything was overwritten, and only then
    deletes the snapshot.
    """

    kind = SAFETY
    step = "safety snapshot"
    default_provides = "safety_snapshot"

    def overwriting(self, volume_id: str) -> None:
        """From here on a revert has to revert the target to the snapshot."""
        self.services.ledger.intend(
            self.work.tag(OVERWRITE),
            run_id=self.services.run_id,
            item=self.work.volume_id,
            kind=OVERWRITE,
        )
        as_left.record(self.work, volume_id)

    def kept(self) -> None:
        """From here on the restored data stays."""
        tag = self.work.tag(OVERWRITE)
        self.services.ledger.present(tag, self.work.volume_id, details={"kept": True})
        self.services.ledger.gone(tag)

    def execute(self, clone_id: str) -> dict[str, Any]:
        entry = self.intend(volume_id=clone_id)
        snapshot = earlier_snapshot(self.work, entry, clone_id)
        if snapshot is None and self._is_overwritten():
            raise VolflowError(
                f"Volume {clone_id} was overwritten in part and its safety snapshot is gone."
            )
        if snapshot is None:
            snapshot = self._create(clone_id)
        self.present(
            snapshot["id"], volume_id=clone_id, **{ownership.MADE_AT: snapshot["created_at"]}
        )
        return self.work.cinder.snapshots.wait(snapshot["id"])

    def _is_overwritten(self) -> bool:
        """Whether an earlier attempt began to write: then it is too late for a snapshot."""
        return self.services.ledger.find(self.work.tag(OVERWRITE)) is not None

    def _create(self, volume_id: str) -> dict[str, Any]:
        return self.work.cinder.snapshots.create(
            volume_id,
            name=ownership.safety_name(self.services.run_id),
            description=f"Before the restore by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
            unanswered=self.unanswered,
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        volume_id = str(entry.details["volume_id"])
        snapshots = snapshots_to_remove(work, entry, volume_id)
        if is_half_written(work):
            cls._bring_back(work, volume_id, snapshots)
            work.services.ledger.gone(work.tag(OVERWRITE))
        for snapshot in snapshots:
            delete_snapshot(work, entry, snapshot)

    @staticmethod
    def _bring_back(work: Work, volume_id: str, snapshots: Sequence[dict[str, Any]]) -> None:
        """Give the target the data of the snapshot, as long as this run has the claim on it.

        :raises VolflowError: it cannot be brought back, or may contain data that was written later
        """
        volume = work.cinder.volumes.existing(volume_id)
        ours = volume is not None and work.is_ours(tag_of(volume))
        if not snapshots:
            if not ours:
                return  # whoever took the volume over has deleted the snapshot too
            raise VolflowError(
                f"Volume {volume_id} was overwritten in part and its safety snapshot is gone. "
                f"Remove its metadata key '{TAG_KEY}' and restore it again."
            )
        if volume is None or not ours:
            raise VolflowError(
                f"Volume {volume_id} was overwritten in part, and no longer carries the tag of "
                "this run: others may have written to it since. Check whether it is intact, revert "
                f"it to snapshot {snapshots[0]['id']} if it is not, then delete that snapshot."
            )
        snapshot_id = snapshots[0]["id"]
        as_left.require(
            work,
            volume_id,
            work.tag(SafetySnapshot.kind),
            "It was overwritten in part before that, so check what is on it now. To bring back "
            f"what was on it before the restore (snapshot {snapshot_id}), use 'volflow leftover "
            f"clean --changed {volume_id}'. To keep it as it is, remove its metadata key "
            f"'{TAG_KEY}' and delete that snapshot.",
        )
        # Of an attempt to copy it back that was killed: Cinder does not revert an attached volume.
        release(work)
        try:
            with as_left.touching(work, volume_id, revert_to=snapshot_id):
                work.cinder.volumes.revert_to_snapshot(volume_id, snapshot_id)
        except CloudError as error:
            if not _is_refusal(error):
                raise
            LOG.warning("Volume %s is copied back: %s", volume_id, error)
            refusal = str(error)
        else:
            return
        try:
            copy_back(work, volume, snapshots[0])
        except StoppedError:
            raise
        except VolflowError as error:
            raise ChangedError(
                f"{refusal} Copying from snapshot {snapshot_id} failed too: {error} Fix that, then "
                "run 'volflow leftover clean'. Until then the data from before the restore is in "
                f"the snapshot: 'openstack volume create --snapshot {snapshot_id}' makes a volume "
                "of it."
            ) from None
        Remark.COPIED_BACK.of(
            work, f"The volume was copied back from its safety snapshot. {refusal}"
        )


def _is_refusal(error: CloudError) -> bool:
    """Whether Cinder has understood a request and does not carry it out."""
    status = error.status
    return status is not None and 400 <= status < 500 and status not in _NO_REFUSAL


class Keep(Step):
    """Records that the restored data stays: from here on nothing reverts the target."""

    step = "keep"

    def __init__(self, safety: SafetySnapshot) -> None:
        super().__init__(safety.work)
        self._safety = safety

    def execute(self) -> None:
        self._safety.kept()
