"""Drives a run: from its stored request to its result."""

from __future__ import annotations

from collections.abc import Sequence

from persistence import Run
from volflow.context import Context
from volflow.movers.base import StoredBackup
from volflow.repositories.backups import last_numbers, parents
from volflow.results.outcome import RunResult
from volflow.results.request import BackupRequest, Request, complete_request
from volflow.runs.build import FlowBuilder
from volflow.runs.runner import Runner
from volflow.runs.work import WorkFactory
from volflow.stop import StopMode


def drive(context: Context, run: Run, stored: Sequence[StoredBackup] = ()) -> RunResult:
    """Start a run, or continue it.

    :param stored: the backups in the repositories, the oldest first: the last backup of a volume
        becomes the parent of its next one
    :raises UsageError: another release stored the run, without something that is needed
    :raises DrivenError: another process drives this run
    :raises SuspendedError: the run was asked to stop; it can be resumed
    """
    with context.driving(run.id):
        return _drive(context, run, stored)


def _drive(context: Context, run: Run, stored: Sequence[StoredBackup]) -> RunResult:
    state, stop = context.state, context.stop
    work = WorkFactory(context).of_run(
        run,
        _parents(complete_request(run), stored),
        last_numbers(stored),
        file_systems={
            one.tags["volume"]: one.tags["file_system"]
            for one in parents(stored)
            if one.tags.get("file_system")
        },
        patience=context.conf.cloud.patience,
    )
    items = state.runs.items(run.id)
    graph = FlowBuilder(run, work, context.backups).graph(items)
    if state.runs.get(run.id).stop == StopMode.ABORT:
        stop.abort_run()
    try:
        return Runner(state, work, stop).drive(run, graph)
    finally:
        stop.next_run()


def _parents(request: Request, stored: Sequence[StoredBackup]) -> dict[str, StoredBackup]:
    """The parent backups, by volume."""
    if not isinstance(request, BackupRequest) or request.full:
        return {}
    # A backup in the repository of another project cannot be a parent.
    return {
        backup.tags["volume"]: backup
        for backup in parents(stored)
        if backup.tags.get("project", "") == request.projects.get(backup.tags["volume"])
    }
