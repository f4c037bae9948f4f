"""Live progress on the standard error: plain lines, or a table where that is a terminal."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from rich import filesize

from volflow.movers.base import CopyProgress
from volflow.observers.progress import NullObserver, Observer
from volflow.printable import printable
from volflow.report.words import plural
from volflow.results.outcome import RunResult, VolumeResult

WAITING = "waiting"
# Seconds between two lines about one copy.
_EVERY = 10.0


def reporter(verbosity: int) -> Observer:
    """The progress that fits the standard error; none with ``--quiet``."""
    if verbosity == 0:
        return NullObserver()
    if not sys.stderr.isatty():
        return Lines()
    # What draws it takes a while to import.
    from volflow.cli.screen import Screen

    return Screen()


@dataclass
class VolumeProgress:
    """How far one volume is."""

    name: str
    step: str = WAITING
    copied: CopyProgress = field(default_factory=CopyProgress)
    first: CopyProgress | None = None
    first_at: float = 0.0
    copied_at: float = 0.0
    told: float = 0.0

    @property
    def begun(self) -> bool:
        return self.step != WAITING

    def began(self, step: str, state: str) -> None:
        self.step = f"undoing {step}" if state == "REVERTING" else step

    def copy_is(self, copied: CopyProgress) -> None:
        again = copied.bytes < self.copied.bytes
        self.copied, self.copied_at = copied, time.monotonic()
        if self.first is None or again:
            # Not where the copy began: one can begin to watch in the middle of it.
            self.first, self.first_at = copied, self.copied_at

    def copy(self) -> str:
        """How far the copy is, and how fast."""
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


class Lines:
    """A line for each step, and now and then one for a long copy."""

    def __init__(self) -> None:
        self._volumes: dict[str, VolumeProgress] = {}
        self._lock = threading.Lock()

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._volumes = {key: VolumeProgress(name or key) for key, name in volumes.items()}
        if run_id:
            self._say(f"run {run_id}: {plural(len(volumes), 'volume')}")

    def step(self, volume_id: str, step: str, state: str) -> None:
        if state in ("RUNNING", "REVERTING"):
            volume = self._volumes[volume_id]
            volume.began(step, state)
            self._say(f"{volume.name}: {volume.step}")

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        volume = self._volumes[volume_id]
        volume.copy_is(copied)
        if time.monotonic() - max(volume.told, volume.first_at) > _EVERY:
            volume.told = time.monotonic()
            self._say(f"{volume.name}: {volume.step}, {volume.copy()}")

    def ended(self, result: VolumeResult) -> None:
        self._say(f"{result.name or result.volume_id}: {result.outcome}")

    def over(self, run_id: str, result: RunResult | None) -> None: ...

    def _say(self, text: str) -> None:
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')} {printable(text)}", file=sys.stderr, flush=True)
