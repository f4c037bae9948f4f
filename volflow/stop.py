"""How a run is asked to stop, from a signal handler, another thread or another process."""

from __future__ import annotations

import threading
from enum import StrEnum


class Way(StrEnum):
    """The two ways to stop: to go on later, or to undo what is under way."""

    SUSPEND = "suspend"
    ABORT = "abort"


class Stop:
    """Whether and how the runs of this process are to stop. Abort wins over suspend.

    :ivar event: set with either; it interrupts copies and the waits for something to become
        ready. Cleaning up is never interrupted.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._way: Way | None = None

    @property
    def suspending(self) -> bool:
        return self._way is Way.SUSPEND

    @property
    def aborting(self) -> bool:
        return self._way is Way.ABORT

    def suspend(self) -> None:
        """Leave everything as it is, so that the run can be resumed."""
        # The way is there before the event: who sees the event must know how to stop.
        self._way = self._way or Way.SUSPEND
        self.event.set()

    def abort(self) -> None:
        """Undo what is under way. What has been stored stays."""
        self._way = Way.ABORT
        self.event.set()
