"""The progress of copies, stored in the state database for other processes to read."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict

from persistence import Runs, StateError
from volflow.observers.progress import NullObserver
from volflow.results.outcome import CopyProgress

LOG = logging.getLogger(__name__)

# Seconds between two updates for one copy.
_EVERY = 2.0


class ProgressRecorder(NullObserver):
    """Stores the progress of each copy in the state database, every few seconds.

    :param every: seconds between two updates for one copy
    """

    def __init__(self, runs: Runs, every: float = _EVERY) -> None:
        self._runs = runs
        self._every = every
        self._run_id = ""
        self._noted: dict[str, float] = {}

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._run_id = run_id

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        now = time.monotonic()
        if now - self._noted.get(volume_id, -self._every) < self._every:
            return
        self._noted[volume_id] = now
        try:
            self._runs.update_item(self._run_id, volume_id, progress=asdict(copied))
        except StateError as error:
            # It only shows progress; the next update may succeed.
            LOG.debug("The progress of the copy could not be stored: %s", error)
