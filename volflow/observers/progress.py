"""Observers: they receive the progress of a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from volflow.results.outcome import CopyProgress, RunResult, VolumeResult

LOG = logging.getLogger(__name__)


class Observer(Protocol):
    """Receives what happens in a run, from several threads at once. It must not raise."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        """The run starts, or continues, with these volumes: names by id.

        Work without a run, such as an export, has an empty id.
        """
        ...

    def step(self, volume_id: str, step: str, state: str) -> None:
        """A step of a volume changed its state in TaskFlow: RUNNING, SUCCESS, REVERTING, ..."""
        ...

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        """The copy of a volume has made progress."""
        ...

    def ended(self, result: VolumeResult) -> None:
        """A volume's flow has ended."""
        ...

    def over(self, run_id: str, result: RunResult | None) -> None:
        """The last call for this run: it has ended, or was suspended if there is no result."""
        ...


class NullObserver:
    """Ignores everything."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None: ...

    def step(self, volume_id: str, step: str, state: str) -> None: ...

    def copied(self, volume_id: str, copied: CopyProgress) -> None: ...

    def ended(self, result: VolumeResult) -> None: ...

    def over(self, run_id: str, result: RunResult | None) -> None: ...


class Observers:
    """Calls several observers, one after the other. An error in one does not affect the others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self._tell(lambda observer: observer.planned(run_id, volumes))

    def step(self, volume_id: str, step: str, state: str) -> None:
        self._tell(lambda observer: observer.step(volume_id, step, state))

    def copied(self, volume_id: str, copied: CopyProgress) -> None:
        self._tell(lambda observer: observer.copied(volume_id, copied))

    def ended(self, result: VolumeResult) -> None:
        self._tell(lambda observer: observer.ended(result))

    def over(self, run_id: str, result: RunResult | None) -> None:
        self._tell(lambda observer: observer.over(run_id, result))

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                # A backup must not fail because of an observer.
                LOG.exception("%s failed on an event of the run", type(observer).__name__)
