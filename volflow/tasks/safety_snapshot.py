"""The safety snapshot, to which a volume goes back when a restore into it fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from persistence import Entry, EntryState
from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.errors import VolflowError
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work

# The ledger's kind of "what was on the target is being overwritten".
OVERWRITE = "overwrite"


def is_half_written(work: Work) -> bool:
    """Whether the target was overwritten, and is neither to stay so nor back to what it was."""
    entry = work.services.ledger.find(work.tag(OVERWRITE))
    return (
        entry is not None
        and entry.state is not EntryState.GONE
        and not entry.details.get("kept", False)
    )


class SafetySnapshot(Temporary):
    """Makes sure that the target's former content is kept.

    Its revert brings the target back to it if anything was overwritten, and only then deletes it.
    """

    kind = "safety snapshot"
    step = "safety snapshot"
    default_provides = "safety_snapshot"

    def overwriting(self) -> None:
        """From here on the revert has to bring the target back."""
        self.services.ledger.intend(
            self.work.tag(OVERWRITE),
            run_id=self.services.run_id,
            item=self.work.volume_id,
            kind=OVERWRITE,
        )

    def kept(self) -> None:
        """From here on what was restored is to stay."""
        tag = self.work.tag(OVERWRITE)
        self.services.ledger.present(tag, self.work.volume_id, details={"kept": True})
        self.services.ledger.gone(tag)

    def execute(self, clone_id: str) -> dict[str, Any]:
        cinder = self.work.cinder
        self.intend(volume_id=clone_id)
        found = cinder.snapshots.tagged(clone_id, self.tag)
        if not found and self._is_overwritten():
            raise VolflowError(
                f"Volume {clone_id} was overwritten in part and its safety snapshot is gone."
            )
        snapshot = found[0] if found else self._create(clone_id)
        self.present(snapshot["id"])
        return cinder.snapshots.wait(snapshot["id"])

    def _is_overwritten(self) -> bool:
        """Whether an earlier attempt has begun to write: too late for a snapshot."""
        return self.services.ledger.find(self.work.tag(OVERWRITE)) is not None

    def _create(self, volume_id: str) -> dict[str, Any]:
        return self.work.cinder.snapshots.create(
            volume_id,
            name=f"volflow-safety-{self.services.run_id[:8]}",
            description=f"Before the restore by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder, volume_id = work.cinder, str(entry.details["volume_id"])
        snapshots = cinder.snapshots.tagged(volume_id, entry.tag)
        if is_half_written(work):
            cls._bring_back(work, volume_id, snapshots)
            work.services.ledger.gone(work.tag(OVERWRITE))
        for snapshot in snapshots:
            cinder.snapshots.delete(snapshot["id"])

    @staticmethod
    def _bring_back(work: Work, volume_id: str, snapshots: Sequence[dict[str, Any]]) -> None:
        """Bring the target back to what it was, as long as it is this run's.

        :raises VolflowError: it cannot be brought back, or may hold what was written later
        """
        volume = work.cinder.volumes.existing(volume_id)
        ours = volume is not None and work.is_ours(tag_of(volume))
        if not snapshots:
            if not ours:
                return  # whoever has taken it over has removed the snapshot too
            raise VolflowError(
                f"Volume {volume_id} was overwritten in part and its safety snapshot is gone. "
                f"Restore it again, once its metadata key '{TAG_KEY}' is removed."
            )
        if not ours:
            raise VolflowError(
                f"Volume {volume_id} was overwritten in part, and does not carry the mark of this "
                "run any more: others may have written to it since. Look whether it is whole, "
                f"revert it to snapshot {snapshots[0]['id']} if it is not, then delete that "
                "snapshot."
            )
        work.cinder.volumes.revert_to_snapshot(volume_id, snapshots[0]["id"])


class Keep(Step):
    """Marks the restored data as what is to stay: from here on nothing rolls it back."""

    step = "keep"

    def __init__(self, safety: SafetySnapshot) -> None:
        super().__init__(safety.work)
        self._safety = safety

    def execute(self) -> None:
        self._safety.kept()
