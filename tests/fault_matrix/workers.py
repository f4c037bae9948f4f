"""Workers: processes that run cases in parallel, each on its own testbed."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault_matrix.case import Case, of_calls
from tests.fault_matrix.outage_cases import of_outages
from tests.fault_matrix.testbed import new_testbed
from tests.fault_matrix.trial import calls, tried
from tests.fault_matrix.verdict import Verdict


@dataclass(frozen=True)
class Recording:
    """A job: record which calls a flow makes."""

    flow: str
    undoing: bool


class Workers:
    """A pool of workers.

    :param connections: the state databases' URLs, one for each worker; None is SQLite
    """

    def __init__(self, connections: Sequence[str | None]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._jobs: Any = self._context.Queue()
        self._answers: Any = self._context.Queue()
        self._directory = tempfile.TemporaryDirectory(prefix="volflow-matrix-")
        self._workers = [
            self._context.Process(
                target=_serve,
                args=(Path(self._directory.name) / str(n), url, self._jobs, self._answers),
            )
            for n, url in enumerate(connections)
        ]

    def __enter__(self) -> Workers:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers:
            if kind is None:
                self._jobs.put(None)
            else:
                worker.terminate()
        for worker in self._workers:
            worker.join(120)
            worker.kill()
        # Nothing reads the rest of the queue.
        self._jobs.cancel_join_thread()
        self._directory.cleanup()

    def calls(self, flows: Iterable[str]) -> Iterator[Case]:
        """The cases of all calls that these flows make."""
        wanted = [Recording(flow, undoing) for flow in flows for undoing in (False, True)]
        for job in wanted:
            self._jobs.put(job)
        for _ in wanted:
            recording, seen = self._next()
            for made in (of_calls, of_outages):
                yield from made(recording.flow, seen, undoing=recording.undoing)

    def run(self, cases: Sequence[Case]) -> Iterator[Verdict]:
        """Run cases; yield each verdict as soon as it is known."""
        for case in cases:
            self._jobs.put(case)
        for _ in cases:
            yield self._next()

    def _next(self) -> Any:
        while True:
            try:
                found = self._answers.get(timeout=5)
            except queue.Empty:
                dead = [worker.pid for worker in self._workers if worker.exitcode is not None]
                if len(dead) == len(self._workers):
                    raise RuntimeError("all workers have ended") from None
                continue
            if isinstance(found, str):
                raise RuntimeError(found)
            return found


def _serve(directory: Path, connection: str | None, jobs: Any, answers: Any) -> None:
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    generation = 0
    try:
        while True:
            with contextlib.ExitStack() as stack:
                generation += 1
                where = directory / str(generation)
                here = stack.enter_context(new_testbed(where, connection))
                if _work(here, jobs, answers) is None:
                    return
    except Exception:  # noqa: BLE001 - the caller gets it as the answer
        answers.put(traceback.format_exc())


def _work(here: Any, jobs: Any, answers: Any) -> bool | None:
    """Work until no job is left (None), or a case has failed on this testbed (False)."""
    while (job := jobs.get()) is not None:
        if isinstance(job, Recording):
            answers.put((job, calls(here, job.flow, undoing=job.undoing)))
            continue
        try:
            verdict = tried(here, job)
        except Exception:  # noqa: BLE001 - the matrix goes on
            verdict = Verdict(job, wrong=[traceback.format_exc()])
        answers.put(verdict)
        if not verdict.good:
            return False
    return None


def _leave(number: int, frame: object) -> None:
    raise SystemExit(1)
