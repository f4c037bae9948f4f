"""Live progress: a table on a terminal, plain lines elsewhere. Both on the standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from rich import filesize
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from volflow.movers.base import Copied
from volflow.printable import printable
from volflow.progress import Progress, Silent
from volflow.report.words import plural
from volflow.result import RunResult, VolumeResult

_WAITING = "waiting"
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
    step: str = _WAITING
    copied: Copied = field(default_factory=Copied)
    first: Copied | None = None
    first_at: float = 0.0
    copied_at: float = 0.0
    told: float = 0.0

    @property
    def begun(self) -> bool:
        return self.step != _WAITING

    def began(self, step: str, state: str) -> None:
        self.step = f"undoing {step}" if state == "REVERTING" else step

    def copy_is(self, copied: Copied) -> None:
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
        self._volumes: dict[str, _Volume] = {}
        self._lock = threading.Lock()

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._volumes = {key: _Volume(name or key) for key, name in volumes.items()}
        if run_id:
            self._say(f"run {run_id}: {plural(len(volumes), 'volume')}")

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
            self._say(f"{volume.name}: {volume.step}, {volume.copy()}")

    def ended(self, result: VolumeResult) -> None:
        self._say(f"{result.name or result.volume_id}: {result.outcome}")

    def over(self, run_id: str, result: RunResult | None) -> None: ...

    def _say(self, text: str) -> None:
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')} {printable(text)}", file=sys.stderr, flush=True)


class Screen:
    """A table with a row for each volume that is worked on, drawn anew as things happen."""

    def __init__(self, console: Console | None = None) -> None:
        self._title = ""
        self._volumes: dict[str, _Volume] = {}
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._live = Live(
            console=console or Console(stderr=True),
            get_renderable=self._shown,
            refresh_per_second=4,
        )

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        with self._lock:
            self._volumes = {key: _Volume(name or key) for key, name in volumes.items()}
        if run_id:
            self._title = f"run {run_id}: {plural(len(volumes), 'volume')}"
        self._live.start()

    def step(self, volume_id: str, step: str, state: str) -> None:
        if state in ("RUNNING", "REVERTING"):
            self._volumes[volume_id].began(step, state)

    def copied(self, volume_id: str, copied: Copied) -> None:
        self._volumes[volume_id].copy_is(copied)

    def ended(self, result: VolumeResult) -> None:
        with self._lock:
            # A row for each of a thousand would push those that go on off the screen.
            del self._volumes[result.volume_id]
            self._outcomes[str(result.outcome)] += 1

    def over(self, run_id: str, result: RunResult | None) -> None:
        self._live.stop()

    def _shown(self) -> Group:
        with self._lock:
            volumes, outcomes = list(self._volumes.values()), dict(self._outcomes)
        begun = [volume for volume in volumes if volume.begun]
        if len(begun) < len(volumes):
            outcomes[_WAITING] = len(volumes) - len(begun)
        parts: list[Text | Table] = [Text(self._title)] if self._title else []
        if begun:
            table = Table("Volume", "Step", "Copied")
            for volume in begun:
                # As text: what is in brackets would be taken for a style.
                table.add_row(Text(printable(volume.name)), volume.step, volume.copy())
            parts.append(table)
        if outcomes:
            parts.append(Text(", ".join(f"{count} {name}" for name, count in outcomes.items())))
        return Group(*parts)
