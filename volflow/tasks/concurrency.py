"""Slots: the limit on the number of volumes that are copied in parallel."""

from __future__ import annotations

import threading

from volflow.errors import StoppedError

# Seconds between two checks whether the run was asked to stop.
_LOOK = 0.2


class Slots:
    """Slots for volumes, also for those that run as one flow.

    :param count: the number of volumes in parallel
    :param stopping: set when the run is asked to stop
    """

    def __init__(self, count: int, stopping: threading.Event) -> None:
        self._free = threading.Semaphore(count)
        self._stopping = stopping
        self._holders: set[str] = set()

    def acquire(self, volume_id: str) -> None:
        """Wait for a free slot; a volume that has one keeps it.

        :raises StoppedError: the run was asked to stop in the meantime
        """
        if volume_id in self._holders:
            return
        while not self._free.acquire(timeout=_LOOK):
            if self._stopping.is_set():
                raise StoppedError("Stopped while waiting for other volumes.")
        self._holders.add(volume_id)

    def release(self, volume_id: str) -> None:
        """Release the volume's slot. Does nothing if it has none."""
        if volume_id in self._holders:
            self._holders.discard(volume_id)
            self._free.release()
