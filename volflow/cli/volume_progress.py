"""The progress of one volume, as the terminal shows it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich import filesize

from volflow import CopyProgress

WAITING = "waiting"


@dataclass
class VolumeProgress:
    """The progress of one volume."""

    name: str
    step: str = WAITING
    copied: CopyProgress = field(default_factory=CopyProgress)
    first: CopyProgress | None = None
    first_at: float = 0.0
    copied_at: float = 0.0
    reported_at: float = 0.0

    @property
    def begun(self) -> bool:
        return self.step != WAITING

    def began(self, step: str, state: str) -> None:
        self.step = f"undoing {step}" if state == "REVERTING" else step

    def copy_is(self, copied: CopyProgress) -> None:
        again = copied.bytes < self.copied.bytes
        self.copied, self.copied_at = copied, time.monotonic()
        if self.first is None or again:
            # Not the start of the copy: the watching can begin later.
            self.first, self.first_at = copied, self.copied_at

    def copy(self) -> str:
        """The progress of the copy, and its rate."""
        if self.first is None:
            return ""
        copied, seconds = self.copied, self.copied_at - self.first_at
        parts = []
        if copied.files_total:
            parts.append(f"{copied.files} of {copied.files_total} files")
        total = f" of {filesize.decimal(copied.bytes_total)}" if copied.bytes_total else ""
        parts.append(f"{filesize.decimal(copied.bytes)}{total}")
        if seconds > 0.5:
            rate = int((copied.bytes - self.first.bytes) / seconds)
            parts.append(f"{filesize.decimal(rate)}/s")
        return ", ".join(parts)
