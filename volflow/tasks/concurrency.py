"""Slots: a limit on volumes at a time, also among those that run as one flow."""

from __future__ import annotations

import threading

from volflow.errors import StoppedError

# Seconds between two looks whether the run is to stop.
_LOOK = 0.2


class Slots:
    """As many places as volumes may be worked on at a time."""

    def __init__(self, count: int, stopping: threading.Event) -> None:
        self._free = threading.Semaphore(count)
        self._stopping = stopping
        self._holders: set[str] = set()

    def enter(self, volume_id: str) -> None:
        """Wait for a lane; a volume that has one keeps it.

        :raises StoppedError: the run was asked to stop in the meantime
        """
        if volume_id in self._holders:
            return
        while not self._free.acquire(timeout=_LOOK):
            if self._stopping.is_set():
                raise StoppedError("Stopped while waiting for other volumes.")
        self._holders.add(volume_id)

    def leave(self, volume_id: str) -> None:
        """Give the lane to the next. Leaving twice is fine."""
        if volume_id in self._holders:
            self._holders.discard(volume_id)
            self._free.release()
