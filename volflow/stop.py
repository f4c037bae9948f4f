"""How a run is asked to stop, from a signal handler, another thread or another process."""

from __future__ import annotations

import threading
from enum import StrEnum


class StopMode(StrEnum):
    """The two ways to stop: to go on later, or to undo what is under way."""

    SUSPEND = "suspend"
    ABORT = "abort"


class Stop:
    """Whether and how the runs of this process are to stop. Abort wins over suspend.

    What is asked of the run at hand alone is no concern of the runs that come after it.

    :ivar event: set with either; it interrupts copies, and the waits for something to become ready
        or, on the way forward, to be gone. Undoing is never interrupted.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._all: StopMode | None = None
        self._run: StopMode | None = None

    @property
    def suspending(self) -> bool:
        return not self.aborting and StopMode.SUSPEND in (self._all, self._run)

    @property
    def aborting(self) -> bool:
        return StopMode.ABORT in (self._all, self._run)

    def suspend(self) -> None:
        """Leave everything as it is, so that the run can be resumed."""
        # The way is there before the event: who sees the event must know how to stop.
        self._all = self._all or StopMode.SUSPEND
        self.event.set()

    def abort(self) -> None:
        """Undo what is under way. What has been stored stays."""
        self._all = StopMode.ABORT
        self.event.set()

    def suspend_run(self) -> None:
        """Suspend the run at hand."""
        self._run = self._run or StopMode.SUSPEND
        self.event.set()

    def abort_run(self) -> None:
        """Undo the run at hand."""
        self._run = StopMode.ABORT
        self.event.set()

    def next_run(self) -> None:
        """The run at hand is over."""
        self._run = None
        self.event.clear()
        # In this order: a signal can come at any moment.
        if self._all is not None:
            self.event.set()
