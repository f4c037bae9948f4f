"""Leftovers: temporary things that runs could not remove."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from volflow.context import Context
from volflow.runs.prepare import flow_builder

if TYPE_CHECKING:
    from volflow.runs.leftovers import Leftover


class LeftoverApi:
    """What can be done with leftovers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, *, lost: bool = False) -> list[Leftover]:
        """The temporary things that runs have left.

        :param lost: those of runs that this state database does not know, too
        """
        return flow_builder(self._context).leftovers(lost=lost)

    def clean(self, *, lost: bool, older_than: timedelta) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, and tell of each what is still in the way, if anything.

        :param lost: those of runs that this state database does not know, too
        :param older_than: how long such a run must have given no sign of life
        """
        return flow_builder(self._context).clean_leftovers(lost=lost, older_than=older_than)
