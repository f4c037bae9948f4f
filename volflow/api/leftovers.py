"""Leftovers: temporary resources that runs could not remove."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from volflow.context import Context
from volflow.runs.prepare import flow_builder

if TYPE_CHECKING:
    from volflow.runs.leftovers import Leftover


class LeftoverApi:
    """Operations on leftovers: ``volflow.leftovers``."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, *, lost: bool = False) -> list[Leftover]:
        """List the temporary resources that runs have left in Cinder and on this host.

        :param lost: also search Cinder for resources of runs that this state database does not know
        """
        return flow_builder(self._context).leftovers(lost=lost)

    def clean(
        self, *, lost: bool = False, older_than: timedelta = timedelta(hours=24)
    ) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, one at a time. Resources of runs that are alive are not touched.

        :param lost: also those of runs that this state database does not know
        :param older_than: with ``lost``: only if the run gave no sign of life for so long
        :returns: each leftover, and why it could not be removed; None if it was removed
        """
        return flow_builder(self._context).clean_leftovers(lost=lost, older_than=older_than)
