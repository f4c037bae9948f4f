"""Detects that a copy makes no progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Seconds between two checks.
_LOOK = 0.2


class StallGuard:
    """Ends a copy when it is asked to stop, or makes no progress for too long.

    :param stopping: set when it is asked to stop
    :param limit: seconds without progress after which it counts as stalled
    """

    def __init__(self, stopping: threading.Event, limit: float) -> None:
        self._stopping = stopping
        self._limit = limit
        self._at: Any = None
        self._since = time.monotonic()
        self.stalled = False

    @property
    def over(self) -> bool:
        """Whether the copy must end now."""
        if not self.stalled:
            self.stalled = time.monotonic() - self._since > self._limit
        return self.stopped or self.stalled

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping.is_set()

    def at(self, position: object) -> None:
        """Report the position of the copy. A position other than the last one is progress."""
        if position != self._at:
            self._at, self._since = position, time.monotonic()

    @contextmanager
    def watching(self, end: Callable[[], None]) -> Iterator[None]:
        """End the copy if it is asked to stop or stalls while the block runs.

        :param end: ends the copy
        """
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                if self.over:
                    end()
                    return
                self._stopping.wait(_LOOK)

        # Not joined: it ends by itself.
        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            over.set()
