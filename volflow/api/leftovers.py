"""Leftovers: temporary resources that runs could not remove."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from volflow.context import Context
from volflow.runs.prepare import load_libraries

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
        load_libraries()
        from volflow.runs import leftovers

        state = self._context.state
        found = leftovers.known(state)
        return found + leftovers.lost(state, self._context.cloud.cinder) if lost else found

    def clean(
        self,
        *,
        lost: bool = False,
        older_than: timedelta = timedelta(hours=24),
        changed: bool = False,
        gone_hosts: Collection[str] = (),
        only: Collection[str] = (),
    ) -> Iterator[tuple[Leftover, str | None]]:
        """Remove leftovers, one at a time. Resources of runs that are alive are not touched.

        :param lost: also those of runs that this state database does not know
        :param older_than: with ``lost``: only if the run gave no sign of life for so long
        :param changed: also what somebody else has changed since volflow left it: volumes are
            reverted or deleted nevertheless
        :param gone_hosts: hosts that were rebooted or do not exist any more: devices that were
            connected to them are gone
        :param only: beginnings of the ids of the runs, volumes or resources; all unless given
        :returns: each leftover, and why it could not be removed; None if it was removed
        """
        load_libraries()
        from volflow.runs import leftovers
        from volflow.runs.work import WorkFactory

        return leftovers.clean_all(
            self._context.state,
            WorkFactory(self._context),
            lost_in=self._context.cloud.cinder if lost else None,
            older_than=older_than,
            changed=changed,
            gone_hosts=gone_hosts,
            only=only,
        )
