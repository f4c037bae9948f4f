"""Running the flows of a run: so many at a time, persisted, each volume for itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oslo_utils import uuidutils
from taskflow import engines, states
from taskflow.patterns import graph_flow
from taskflow.persistence import models
from taskflow.types import notifier

from persistence import ItemState, Run, RunState, State
from volflow import heartbeat
from volflow.flows.plan import Plan
from volflow.flows.resume import rewind
from volflow.result import Figures, Outcome, RunResult, VolumeResult
from volflow.tasks.base import Step
from volflow.tasks.work import Services

LOG = logging.getLogger(__name__)


class Runner:
    """Drives one run to its end.

    :param state: where the run is persisted
    :param services: what the tasks work with
    :param parallel: how many components of the plan run at a time
    """

    def __init__(self, state: State, services: Services, parallel: int) -> None:
        self._state = state
        self._services = services
        self._parallel = parallel

    def drive(self, run: Run, plan: Plan) -> RunResult:
        """Start a run, or go on with one: volumes that have ended already are left alone.

        :raises persistence.Held: another process drives this run
        """
        with heartbeat.driving(self._state.leases, run.id, self._services.cancelled.set):
            items = {item.key: item for item in self._state.runs.items(run.id)}
            names = {key: item.name for key, item in items.items()}
            self._services.progress.planned(run.id, names)
            components = plan.components()
            book, resumed = self._logbook(run, components)
            with (
                ThreadPoolExecutor(self._parallel, "volume") as drivers,
                # A flow never has more tasks ready than it has volumes.
                ThreadPoolExecutor(
                    self._parallel * max((len(v) for v, _ in components), default=1), "task"
                ) as workers,
            ):
                jobs = [
                    drivers.submit(
                        self._run_flow, run, volumes, flow, book, names, workers, resumed
                    )
                    for volumes, flow in components
                ]
                for job in jobs:
                    job.result()
            return self._finish(run)

    def _logbook(
        self, run: Run, components: Iterable[tuple[list[str], graph_flow.Flow]]
    ) -> tuple[models.LogBook, bool]:
        backend = self._state.taskflow.get_connection()
        if run.logbook_id:
            return backend.get_logbook(run.logbook_id), True
        book = models.LogBook(f"run {run.id}", uuidutils.generate_uuid())
        for volumes, flow in components:
            detail = models.FlowDetail(flow.name, uuidutils.generate_uuid())
            book.add(detail)
            for volume_id in volumes:
                self._state.runs.update_item(run.id, volume_id, flow_id=detail.uuid)
        # All at once: adding flows one by one reads the book anew each time.
        backend.save_logbook(book)
        self._state.runs.update(run.id, logbook_id=book.uuid)
        return book, False

    def _run_flow(
        self,
        run: Run,
        volumes: list[str],
        flow: graph_flow.Flow,
        book: models.LogBook,
        names: Mapping[str, str],
        workers: ThreadPoolExecutor,
        resumed: bool,
    ) -> None:
        runs = self._state.runs
        items = [runs.item(run.id, volume_id) for volume_id in volumes]
        if all(item.state.final for item in items):
            return
        started = time.monotonic()
        for volume_id in volumes:
            runs.update_item(run.id, volume_id, state=ItemState.RUNNING)
        engine = engines.load(
            flow,
            flow_detail=book.find(items[0].flow_id),
            book=book,
            backend=self._state.taskflow,
            engine="parallel",
            executor=workers,
        )
        engine.compile()
        engine.prepare()
        steps = [step for subflow in flow for step in subflow if isinstance(step, Step)]
        if resumed:
            rewind(engine, steps)
        engine.atom_notifier.register(notifier.Notifier.ANY, self._told(run, steps))
        try:
            engine.run()
        except Exception as error:  # noqa: BLE001 - the flow has ended; the result says how
            LOG.info("Flow %s ended with: %s", flow.name, error)
        for volume_id in volumes:
            seconds = time.monotonic() - started
            self._end(run, self._result(run, engine, volume_id, names[volume_id], seconds))

    def _told(self, run: Run, steps: list[Step]) -> Any:
        by_name = {step.name: step for step in steps}

        def told(state: str, details: dict[str, Any]) -> None:
            step = by_name.get(details.get("task_name", ""))
            if step is None or state not in _TOLD:
                return
            volume_id, name = step.work.volume_id, step.name.partition(":")[2]
            self._services.progress.step(volume_id, name, state)
            if state in (states.RUNNING, states.REVERTING):
                self._state.runs.update_item(run.id, volume_id, step=name)

        return told

    def _result(
        self, run: Run, engine: Any, volume_id: str, name: str, seconds: float
    ) -> VolumeResult:
        storage = engine.storage
        mine = f"{volume_id}:"
        failures = [
            failure
            for atom, failure in storage.get_execute_failures().items()
            if atom.startswith(mine)
        ]
        leftovers = tuple(
            f"{entry.kind} {entry.resource_id or entry.tag}: {entry.reason}"
            for entry in self._services.ledger.leftovers(run.id)
            if entry.item == volume_id
        )
        done = storage.get_flow_state() == states.SUCCESS
        stored = {
            symbol.removeprefix(mine): value
            for symbol, value in storage.fetch_all().items()
            if symbol.startswith(mine)
        }
        saved: dict[str, Any] = stored.get("saved") or {}
        unread = tuple(saved.get("unread", ()))
        outcome = Outcome.FAILED if not done else Outcome.PARTIAL if unread else Outcome.COMPLETE
        return VolumeResult(
            volume_id=volume_id,
            name=name,
            outcome=outcome,
            backup_id=saved.get("id") or run.request.get("backups", {}).get(volume_id),
            parent_id=saved.get("parent_id"),
            target_id=stored.get("clone_id") if run.kind == "restore" and done else None,
            figures=Figures(**saved.get("figures", {})),
            seconds=seconds,
            unread=unread,
            leftovers=leftovers,
            error=None if done else _message(failures),
        )

    def _end(self, run: Run, result: VolumeResult) -> None:
        self._state.runs.update_item(
            run.id,
            result.volume_id,
            state=ItemState[result.outcome.name],
            result=result.to_dict(),
            error=result.error,
        )
        self._services.progress.ended(result)

    def _finish(self, run: Run) -> RunResult:
        items = self._state.runs.items(run.id)
        result = RunResult(
            run.id, run.kind, tuple(VolumeResult.from_dict(item.result) for item in items)
        )
        self._state.runs.update(run.id, state=RunState[result.outcome.name])
        return result


_TOLD = (
    states.RUNNING,
    states.SUCCESS,
    states.FAILURE,
    states.REVERTING,
    states.REVERTED,
    states.REVERT_FAILURE,
)


def _message(failures: list[Any]) -> str:
    if not failures:
        return "The flow was reverted without a failure of a task; see the log."
    exception = failures[0].exception
    return str(exception) if exception is not None else str(failures[0].exception_str)
