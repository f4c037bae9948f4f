"""Following a run from another process, through the state database."""

from __future__ import annotations

import threading
import time

from taskflow import states

from persistence import Item, ItemState, Run, RunState, State
from volflow.observers.progress import Observer
from volflow.results import stored
from volflow.results.outcome import CopyProgress
from volflow.runs import lease

# Seconds between two queries.
_EVERY = 0.5
# Seconds within which a process that has created a run takes its lease.
_GRACE = 5.0


class Watch:
    """Reports to an observer the progress of a run in another process.

    :param progress: receives the progress, as if this process drove the run
    :param every: seconds between two queries of the state database
    :param grace: seconds that a run may have no process before the watching ends
    """

    def __init__(
        self, state: State, progress: Observer, *, every: float = _EVERY, grace: float = _GRACE
    ) -> None:
        self._state = state
        self._progress = progress
        self._every = every
        self._grace = grace
        self._reported: dict[str, float] = {}
        self._ended: set[str] = set()
        self._copied: dict[str, CopyProgress] = {}

    def follow(self, run_id: str, stopping: threading.Event) -> Run:
        """Follow a run until it ends, until no process drives it, or until ``stopping`` is set.

        :param run_id: its id or a prefix
        :returns: the run as it is then
        """
        runs, alone_since = self._state.runs, None
        run = runs.get(run_id)
        if run.state.final:
            return run
        items = runs.items(run.id)
        self._reported = {item.key: _history(item) for item in items}
        self._progress.planned(run.id, {item.key: item.name for item in items})
        try:
            while True:
                # Read the run before its items, so that the last progress of the items is reported.
                run = runs.get(run.id)
                for item in runs.items(run.id):
                    self._tell(item)
                if run.state.final or stopping.is_set():
                    return run
                if lease.is_driven(self._state.leases, run.id):
                    alone_since = None
                elif alone_since is None:
                    alone_since = time.monotonic()
                elif (
                    run.state is RunState.SUSPENDED or time.monotonic() - alone_since > self._grace
                ):
                    return run
                stopping.wait(self._every)
        finally:
            result = stored.run_result(run, runs.items(run.id)) if run.state.final else None
            self._progress.over(run.id, result)

    def _tell(self, item: Item) -> None:
        """Report what has happened to a volume since the last query."""
        if item.state is ItemState.PENDING or item.key in self._ended:
            return
        for step in stored.steps(item):
            if step.started > self._reported[item.key]:
                state = states.REVERTING if "REVERT" in step.state else states.RUNNING
                self._progress.step(item.key, step.name, state)
                self._reported[item.key] = step.started
        copied = CopyProgress(**item.progress) if item.progress else None
        if copied and copied != self._copied.get(item.key):
            self._copied[item.key] = copied
            self._progress.copied(item.key, copied)
        if item.state.final:
            self._ended.add(item.key)
            self._progress.ended(stored.volume_result(item))


def _history(item: Item) -> float:
    """The start time of the last step that ended before the watching began."""
    steps = stored.steps(item)
    # The last step has not ended.
    past = steps if item.state.final else steps[:-1]
    return past[-1].started if past else 0.0
