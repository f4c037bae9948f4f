"""Live progress on the standard error: a table on a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import threading
import time

from volflow import CopyProgress, NullObserver, Observer, RunResult, VolumeResult
from volflow.cli.volume_progress import VolumeProgress
from volflow.printable import printable
from volflow.report.words import plural

# Seconds between two lines about one copy.
_EVERY = 10.0


def reporter(verbosity: int) -> Observer:
    """Return the observer that suits the standard error; none with ``--quiet``."""
    if verbosity == 0:
        return NullObserver()
    if not sys.stderr.isatty():
        return Lines()
    # Rich takes a while to import.
    from volflow.cli.screen import Screen

    return Screen()


class Lines:
    """Prints a line for each step, and from time to time one for a long copy."""

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
        if time.monotonic() - max(volume.reported_at, volume.first_at) > _EVERY:
            volume.reported_at = time.monotonic()
            self._say(f"{volume.name}: {volume.step}, {volume.copy()}")

    def ended(self, result: VolumeResult) -> None:
        self._say(f"{result.name or result.volume_id}: {result.outcome}")

    def over(self, run_id: str, result: RunResult | None) -> None: ...

    def _say(self, text: str) -> None:
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')} {printable(text)}", file=sys.stderr, flush=True)
