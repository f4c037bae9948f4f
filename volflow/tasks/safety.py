"""The safety snapshot, to which a volume goes back when a restore into it fails."""

from __future__ import annotations

from typing import Any

from persistence import Entry, EntryState
from volflow.cinder import TAG_KEY
from volflow.errors import VolflowError
from volflow.tasks.base import Step, Temporary
from volflow.tasks.work import Work

# The ledger's kind of "what was on the target is being overwritten".
OVERWRITE = "overwrite"


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
        found = cinder.snapshots_tagged(clone_id, self.tag)
        if not found and self._is_overwritten():
            raise VolflowError(
                f"Volume {clone_id} was overwritten in part and its safety snapshot is gone."
            )
        snapshot = found[0] if found else self._create(clone_id)
        self.present(snapshot["id"])
        return cinder.wait_snapshot(snapshot["id"])

    def _is_overwritten(self) -> bool:
        """Whether an earlier attempt has begun to write: too late for a snapshot."""
        return self.services.ledger.find(self.work.tag(OVERWRITE)) is not None

    def _create(self, volume_id: str) -> dict[str, Any]:
        return self.work.cinder.create_snapshot(
            volume_id,
            name=f"volflow-safety-{self.services.run_id[:8]}",
            description=f"Before the restore by volflow run {self.services.run_id}",
            metadata={TAG_KEY: self.tag},
        )

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        cinder, ledger = work.cinder, work.services.ledger
        volume_id, overwrite = str(entry.details["volume_id"]), work.tag(OVERWRITE)
        overwritten = ledger.find(overwrite)
        snapshots = cinder.snapshots_tagged(volume_id, entry.tag)
        if (
            overwritten is not None
            and overwritten.state is not EntryState.GONE
            and not overwritten.details.get("kept")
        ):
            if not snapshots:
                raise VolflowError(
                    f"Volume {volume_id} was overwritten in part and its safety snapshot is gone."
                )
            cinder.revert_to_snapshot(volume_id, snapshots[0]["id"])
            ledger.gone(overwrite)
        for snapshot in snapshots:
            cinder.delete_snapshot(snapshot["id"])


class Keep(Step):
    """Marks the restored data as what is to stay: from here on nothing rolls it back."""

    step = "keep"

    def __init__(self, safety: SafetySnapshot) -> None:
        super().__init__(safety.work)
        self._safety = safety

    def execute(self) -> None:
        self._safety.kept()
