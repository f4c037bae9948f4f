"""Runs: resuming and aborting them."""

from __future__ import annotations

from persistence import Run, RunState
from volflow.context import Context
from volflow.errors import UsageError
from volflow.results.outcome import RunResult
from volflow.runs import lease as heartbeat
from volflow.runs.prepare import checks, flow_builder, prepare
from volflow.stop import StopMode

_OPEN = (RunState.RUNNING, RunState.SUSPENDED)


class RunApi:
    """What can be done with runs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def resume(self, run_id: str) -> RunResult:
        """Go on with a run whose process is no more.

        :param run_id: its id or a prefix
        :raises UsageError: it has ended
        :raises CloudError: it works in another cloud, or in a project that cannot be acted in
        :raises DrivenError: a process drives it
        """
        run = self._unfinished(run_id)
        return self._take_over(run)

    def abort(self, run_id: str) -> RunResult | None:
        """Undo a run: one whose process is no more here and now, one that is driven by asking.

        :param run_id: its id or a prefix
        :returns: the result; None where another process was asked to undo it
        :raises UsageError: it has ended
        :raises CloudError: it works in another cloud, or in a project that cannot be acted in
        """
        run, state = self._unfinished(run_id), self._context.state
        if not heartbeat.is_driven(state.leases, run.id):
            # Else whoever resumes it would undo it, though nobody here can.
            flow_builder(self._context).check_reach(run)
        run = state.runs.update(run.id, stop=StopMode.ABORT)
        if heartbeat.is_driven(state.leases, run.id):
            return None
        return self._take_over(run)

    def unfinished(self) -> list[Run]:
        """The runs that have not ended and that no process drives, the oldest first."""
        state = self._context.state
        found = [run for one in _OPEN for run in state.runs.list(state=one)]
        return sorted(
            (run for run in found if not heartbeat.is_driven(state.leases, run.id)),
            key=lambda run: run.created_at,
        )

    def _unfinished(self, run_id: str) -> Run:
        run = self._context.state.runs.get(run_id)
        if run.state.final:
            raise UsageError(f"Run {run.id} has ended already: it is {run.state.lower()}.")
        if run.request["repository"] != self._context.repositories.location:
            raise UsageError(
                f"Run {run.id} works with the repository {run.request['repository']}, and the one "
                f"that is configured is {self._context.repositories.location}."
            )
        return run

    def _take_over(self, run: Run) -> RunResult:
        if run.stop == StopMode.ABORT:
            # What is undone is in the ledger: the repository may be gone with what it held.
            for check in checks(self._context):
                check()
            return flow_builder(self._context).drive(run, [])
        stored = prepare(self._context)
        if stored is None:
            # A repository that cannot be used fails its own volumes, when it is their turn.
            stored, _ = self._context.backups.look(filter(None, run.request["projects"].values()))
        return flow_builder(self._context).drive(run, stored)
