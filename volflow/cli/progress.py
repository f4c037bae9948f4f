"""Live progress: a table on a terminal, plain lines elsewhere. Both on the standard error."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field

from rich import filesize
from rich.console import Console
from rich.live import Live
from rich.table import Table

from volflow.movers.base import Copied
from volflow.progress import Progress, Silent
from volflow.result import RunResult, VolumeResult

# Seconds between two lines about one copy.
_EVERY = 10.0


def reporter(verbosity: int) -> Progress:
    """The progress that fits the standard error; none with ``--quiet``."""
    if verbosity == 0:
        return Silent()
    return Screen() if sys.stderr.isatty() else Lines()


@dataclass
class _Volume:
    """How far one volume is."""

    name: str
    step: str = "waiting"
    copied: Copied = field(default_factory=Copied)
    first: Copied | None = None
    first_at: float = 0.0
    copied_at: float = 0.0
    told: float = 0.0

    def began(self, step: str, state: str) -> None:
        self.step = f"undoing {step}" if state == "REVERTING" else step

    def copy_is(self, copied: Copied) -> None:
        self.copied, self.copied_at = copied, time.monotonic()
        if self.first is None:
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
        self._volumes: dict[str, _Volume] = {}
        self._lock = threading.Lock()

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._volumes = {key: _Volume(name or key) for key, name in volumes.items()}
        self._say(f"run {run_id}: {len(volumes)} volume{'s' if len(volumes) != 1 else ''}")

    def step(self, volume_id: str, step: str, state: str) -> None:
        if state in ("RUNNING", "REVERTING"):
            volume = self._volumes[volume_id]
            volume.began(step, state)
            self._say(f"{volume.name}: {volume.step}")

    def copied(self, volume_id: str, copied: Copied) -> None:
        volume = self._volumes[volume_id]
        volume.copy_is(copied)
        if time.monotonic() - max(volume.told, volume.first_at) > _EVERY:
            volume.told = time.monotonic()
            self._say(f"{volume.name}: copy, {volume.copy()}")

    def ended(self, result: VolumeResult) -> None:
        self._say(f"{result.name or result.volume_id}: {result.outcome}")

    def over(self, run_id: str, result: RunResult | None) -> None: ...

    def _say(self, text: str) -> None:
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Screen:
    """A table with a row for each volume, drawn anew as things happen."""

    def __init__(self) -> None:
        self._volumes: dict[str, _Volume] = {}
        self._live = Live(
            console=Console(stderr=True), get_renderable=self._table, refresh_per_second=4
        )

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._volumes = {key: _Volume(name or key) for key, name in volumes.items()}
        self._live.start()

    def step(self, volume_id: str, step: str, state: str) -> None:
        if state in ("RUNNING", "REVERTING"):
            self._volumes[volume_id].began(step, state)

    def copied(self, volume_id: str, copied: Copied) -> None:
        self._volumes[volume_id].copy_is(copied)

    def ended(self, result: VolumeResult) -> None:
        self._volumes[result.volume_id].step = str(result.outcome)

    def over(self, run_id: str, result: RunResult | None) -> None:
        self._live.stop()

    def _table(self) -> Table:
        table = Table("Volume", "Step", "Copied")
        # Those that have not begun would push the others off the screen.
        for volume in self._volumes.values():
            if volume.step != "waiting":
                table.add_row(volume.name, volume.step, volume.copy())
        return table
