"""Live progress as a table on a terminal."""

from __future__ import annotations

import threading
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from volflow import CopyProgress, RunResult, VolumeResult
from volflow.cli.volume_progress import WAITING, VolumeProgress
from volflow.printable import printable
from volflow.report.words import plural


class Screen:
    """Draws a table with a row for each volume in progress."""

    def __init__(self, console: Console | None = None) -> None:
        self._title = ""
        self._volumes: dict[str, VolumeProgress] = {}
        self._outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._live = Live(
            console=console or Console(stderr=True),
            get_renderable=self._shown,
            refresh_per_second=4,
        )

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        with self._lock:
            self._volumes = {key: VolumeProgress(name or key) for key, name in volumes.items()}
        if run_id:
            self._title = f"run {run_id}: {plural(len(volumes), 'volume')}"
        self._live.start()

    def step(self, volume_id: str, step: str, state: str) -> None:
        if state in ("RUNNING", "REVERTING"):
            self._volumes[volume_id].began(step, state)

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        self._volumes[volume_id].copy_is(copied)

    def ended(self, result: VolumeResult) -> None:
        with self._lock:
            # Rows of ended volumes would push those in progress off the screen.
            del self._volumes[result.volume_id]
            self._outcomes[str(result.outcome)] += 1

    def over(self, run_id: str, result: RunResult | None) -> None:
        self._live.stop()

    def _shown(self) -> Group:
        with self._lock:
            volumes, outcomes = list(self._volumes.values()), dict(self._outcomes)
        begun = [volume for volume in volumes if volume.begun]
        if len(begun) < len(volumes):
            outcomes[WAITING] = len(volumes) - len(begun)
        parts: list[Text | Table] = [Text(self._title)] if self._title else []
        if begun:
            table = Table("Volume", "Step", "Copied")
            for volume in begun:
                # As text: Rich would take brackets for a style.
                table.add_row(Text(printable(volume.name)), volume.step, volume.copy())
            parts.append(table)
        if outcomes:
            parts.append(Text(", ".join(f"{count} {name}" for name, count in outcomes.items())))
        return Group(*parts)
