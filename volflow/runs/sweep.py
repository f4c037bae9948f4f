"""The end of a run: what is still open in its ledger is removed, or named in its result."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace

from persistence import Entry, EntryState, State
from volflow.cloud.patience import impatient
from volflow.errors import DrivenError, VolflowError
from volflow.host.program import undisturbed
from volflow.printable import bounded
from volflow.results import stored
from volflow.runs.lease import RunLease
from volflow.runs.volume_result import leftover_line
from volflow.runs.work import RunWork
from volflow.tasks.kinds import KINDS

LOG = logging.getLogger(__name__)


class Sweep:
    """Goes through the open entries of a run's ledger when all its volumes have ended.

    The flows of the volumes revert and dispose of what they have made. What stays open was
    obstructed, or belongs to a step that the flow does not know to have begun, because processes
    were killed in between.

    :param lease: the right to drive the run
    """

    def __init__(self, state: State, work: RunWork, lease: RunLease) -> None:
        self._state = state
        self._work = work
        self._lease = lease
        self._ledger = state.ledger

    def sweep(self, *, interruptible: bool) -> None:
        """Remove what is open, the newest first; put what stays into the results of the volumes.

        It can be repeated, after a kill at any moment too.

        :param interruptible: whether a request to stop ends it
        :raises DrivenError: another process has taken the run
        :raises StoppedError: the run was asked to stop
        """
        found = [entry for entry in self._ledger.open(self._work.run_id) if entry.kind in KINDS]
        for entry in found:
            self._lease.ensure(ask=True)
            self._remove(entry, interruptible=interruptible)
        if found:
            self._report(found)

    def _remove(self, entry: Entry, *, interruptible: bool) -> None:
        current = self._ledger.find(entry.tag)
        if current is None or current.state is EntryState.GONE:
            return  # removed together with another
        LOG.info("The run has ended and %s is open: removing it", entry.tag)
        try:
            work = self._work.of(entry.item)
        except DrivenError:
            raise
        except VolflowError as error:
            self._ledger.leftover(entry.tag, bounded(str(error)))
            return
        if entry.state is EntryState.LEFTOVER:
            # All patience has been spent on it. Only what obstructed it may be gone by now.
            work = replace(work, services=replace(work.services, patience=0.0))
        if interruptible:
            work = work.interruptible()
        spent = impatient() if entry.state is EntryState.LEFTOVER else nullcontext()
        with spent, nullcontext() if interruptible else undisturbed():
            KINDS[entry.kind].dispose(work, entry.tag)

    def _report(self, found: Iterable[Entry]) -> None:
        """Store in the results of the volumes what stays, and no longer what has gone."""
        runs, run_id = self._state.runs, self._work.run_id
        items = {item.key: item for item in runs.items(run_id)}
        # What volumes share is named with the first of them.
        speaks_for = {key: key for key in items}
        for group, members in self._work.request.groups.items():
            speaks_for[group] = next(key for key in items if key in members)
        left: dict[str, list[Entry]] = {
            speaks_for[entry.item]: [] for entry in found if entry.item in speaks_for
        }
        for entry in self._ledger.open(run_id):
            if entry.kind in KINDS and speaks_for.get(entry.item) in left:
                left[speaks_for[entry.item]].append(entry)
        for key, entries in left.items():
            if items[key].state.final:
                lines = tuple(leftover_line(entry) for entry in entries)
                result = replace(stored.volume_result(items[key]), leftovers=lines)
                runs.update_item(run_id, key, result=result.to_dict())
