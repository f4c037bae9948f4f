"""A volume's place among those that are worked on at a time."""

from __future__ import annotations

from typing import Any

from volflow.tasks.base import Step


class AcquireSlot(Step):
    """Waits until there is a lane for this volume; its revert, the last of all, leaves it."""

    step = "wait for others"
    process_local = True

    def execute(self) -> None:
        self.services.slots.enter(self.work.volume_id)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        self.services.slots.leave(self.work.volume_id)


class ReleaseSlot(Step):
    """Leaves the lane to the next volume."""

    step = "let others"

    def execute(self) -> None:
        self.services.slots.leave(self.work.volume_id)
