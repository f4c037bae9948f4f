"""Who is told how far a run is."""

from __future__ import annotations

from typing import Protocol

from volflow.movers.base import Copied
from volflow.result import VolumeResult


class Progress(Protocol):
    """Receives what happens in a run, from several threads at once. It must not raise."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        """The run is about to start with these volumes: names by id."""
        ...

    def step(self, volume_id: str, step: str, state: str) -> None:
        """A step of a volume has come to a state of TaskFlow: RUNNING, SUCCESS, REVERTING, ..."""
        ...

    def copied(self, volume_id: str, copied: Copied) -> None:
        """The copy of a volume is so far."""
        ...

    def ended(self, result: VolumeResult) -> None:
        """A volume's flow has ended."""
        ...


class Silent:
    """Tells nobody."""

    def planned(self, run_id: str, volumes: dict[str, str]) -> None: ...

    def step(self, volume_id: str, step: str, state: str) -> None: ...

    def copied(self, volume_id: str, copied: Copied) -> None: ...

    def ended(self, result: VolumeResult) -> None: ...
