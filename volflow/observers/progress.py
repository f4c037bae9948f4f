"""Who is told how far a run is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from volflow.results.outcome import CopyProgress, RunResult, VolumeResult

LOG = logging.getLogger(__name__)


class Observer(Protocol):
    """Receives what happens in a run, from several threads at once. It must not raise."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        """The run is about to start, or to go on, with these volumes: names by id.

        What is done without a run, such as taking a backup out, has an empty id.
        """
        ...

    def step(self, volume_id: str, step: str, state: str) -> None:
        """A step of a volume has come to a state of TaskFlow: RUNNING, SUCCESS, REVERTING, ..."""
        ...

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        """The copy of a volume is so far."""
        ...

    def ended(self, result: VolumeResult) -> None:
        """A volume's flow has ended."""
        ...

    def over(self, run_id: str, result: RunResult | None) -> None:
        """Nothing more is told of this run: it has ended, or with None was suspended."""
        ...


class NullObserver:
    """Tells nobody."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None: ...

    def step(self, volume_id: str, step: str, state: str) -> None: ...

    def copied(self, volume_id: str, copied: CopyProgress) -> None: ...

    def ended(self, result: VolumeResult) -> None: ...

    def over(self, run_id: str, result: RunResult | None) -> None: ...


class Observers:
    """Tells several listeners, one after the other. What fails in one of them harms nobody."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._listeners = tuple(observers)

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._tell(lambda listener: listener.planned(run_id, volumes))

    def step(self, volume_id: str, step: str, state: str) -> None:
        self._tell(lambda listener: listener.step(volume_id, step, state))

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        self._tell(lambda listener: listener.copied(volume_id, copied))

    def ended(self, result: VolumeResult) -> None:
        self._tell(lambda listener: listener.ended(result))

    def over(self, run_id: str, result: RunResult | None) -> None:
        self._tell(lambda listener: listener.over(run_id, result))

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for listener in self._listeners:
            try:
                what(listener)
            except Exception:
                # Whoever watches a backup must not be what it fails for.
                LOG.exception("%s could not be told of the run", type(listener).__name__)
