"""A slot for one volume, which limits how many volumes of one flow are copied in parallel."""

from __future__ import annotations

from typing import Any

from volflow.tasks.base import Step


class AcquireSlot(Step):
    """Waits for a free slot; its revert, the last one of the volume, releases the slot."""

    step = "wait for others"
    process_local = True

    def execute(self) -> None:
        self.services.slots.acquire(self.work.volume_id)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self.services.slots.release(self.work.volume_id)


class ReleaseSlot(Step):
    """Releases the slot for the next volume."""

    step = "let others"

    def execute(self) -> None:
        self.services.slots.release(self.work.volume_id)
