"""A TaskFlow flow that logs its steps to a file, for tests that kill and resume it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

from taskflow import engines, task
from taskflow.patterns import linear_flow
from taskflow.persistence import models
from taskflow.types.failure import Failure

from persistence import State


class Note(task.Task):
    """Write this step's name to the log, and wait there if the environment says so."""

    def execute(self, log: str) -> str:
        """Log the step, and return a result to be stored."""
        with open(log, "a") as file:
            file.write(f"{self.name}\n")
        if self.name == os.environ.get("STATE_FLOW_HANGS_AT"):
            time.sleep(60)
        return f"result of {self.name}"

    def revert(self, log: str, result: str | Failure | None) -> None:
        """Log the revert."""
        with open(log, "a") as file:
            file.write(f"revert {self.name}\n")


def make() -> linear_flow.Flow:
    """The factory; TaskFlow imports it by name to resume."""
    names = ("first", "second", "third")
    return linear_flow.Flow("flow").add(*(Note(name, provides=f"by {name}") for name in names))


def start(state: State, log: str) -> None:
    """Run the flow, with its own logbook."""
    book = models.LogBook("book")
    state.taskflow.get_connection().save_logbook(book)
    with ThreadPoolExecutor(2) as pool:
        engine = engines.load_from_factory(
            make,
            book=book,
            backend=state.taskflow,
            store={"log": log},
            engine="parallel",
            executor=pool,
        )
        engine.run()


def resume(state: State, log: str) -> dict[str, str]:
    """Resume the flow in the first logbook; return the results of all tasks."""
    connection = state.taskflow.get_connection()
    (book,) = connection.get_logbooks()
    (detail,) = book
    with ThreadPoolExecutor(2) as pool:
        engine = engines.load_from_detail(
            detail, backend=state.taskflow, engine="parallel", executor=pool
        )
        engine.run()
    results: dict[str, str] = engine.storage.fetch_all()
    results.pop("log")
    return results
