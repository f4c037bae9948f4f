"""How a run is asked to stop, from a signal handler, another thread or another process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class StopMode(StrEnum):
    """The two ways to stop: to continue later, or to undo what has begun."""

    SUSPEND = "suspend"
    ABORT = "abort"


class Stop:
    """Whether and how the runs of this process must stop. Abort overrides suspend.

    A request to stop only the current run does not affect the runs after it.

    :ivar drives: whether a run is driven now, which can be suspended or undone
    :ivar serves: whether something goes on until it is asked to stop, and needs no undoing
    :ivar event: set for both; it interrupts copies, and waits for a resource to become ready or,
        on the way forward, to be deleted. It never interrupts a revert.
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self._all: StopMode | None = None
        self._run: StopMode | None = None
        self._held = False
        self.drives = self.serves = False

    @contextmanager
    def driving(self) -> Iterator[None]:
        """A run is driven while the block runs."""
        before, self.drives = self.drives, True
        try:
            yield
        finally:
            self.drives = before

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Something goes on until it is asked to stop while the block runs."""
        self.serves = True
        try:
            yield
        finally:
            self.serves = False

    @property
    def suspending(self) -> bool:
        return not self.aborting and StopMode.SUSPEND in (self._all, self._run)

    @property
    def aborting(self) -> bool:
        return StopMode.ABORT in (self._all, self._run)

    @property
    def held(self) -> bool:
        """Whether a person has suspended the runs, so that only a person shall continue them."""
        return self._held and not self.aborting

    def suspend(self, *, hold: bool = False) -> None:
        """Leave everything as it is, so that the run can be resumed.

        :param hold: a person has decided this. Nothing resumes the run until a person names it:
            not ``volflow run resume --all``, which a timer runs
        """
        self._held = self._held or hold
        # The mode is set before the event: whoever sees the event must know how to stop.
        self._all = self._all or StopMode.SUSPEND
        self.event.set()

    def abort(self) -> None:
        """Undo what has begun. Stored backups stay."""
        self._all = StopMode.ABORT
        self.event.set()

    def suspend_run(self) -> None:
        """Suspend the current run only."""
        self._run = self._run or StopMode.SUSPEND
        self.event.set()

    def abort_run(self) -> None:
        """Undo the current run only."""
        self._run = StopMode.ABORT
        self.event.set()

    def next_run(self) -> None:
        """Forget the requests for the current run, which has ended."""
        self._run = None
        self.event.clear()
        # In this order: a signal can come at any moment.
        if self._all is not None:
            self.event.set()
