"""A volume's part in a run, for tests that execute and revert single tasks."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from persistence import RunState, State
from tests.support.fake_cinder import FakeClient
from volflow.tasks.concurrency import Slots
from volflow.tasks.work import Services, Work


class Connector:
    """An os-brick that finds every device, and records each disconnect.

    :param done: gets each disconnect, with the path in the connection info
    """

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def properties(self) -> dict[str, Any]:
        return {"host": "here"}

    def disconnect(self, connection: Any, info: Any, *, discard: bool) -> None:
        self._done.append(f"disconnect{' (discard)' if discard else ''}")


def work_of(state: State, cloud: FakeClient, volume_id: str, run_id: str | None = None) -> Work:
    """A volume's part in a new run.

    :param run_id: a run that the state database does not know, instead of a new one
    """
    if run_id is None:
        run = state.runs.create("restore", {}, [(volume_id, "")], host="here", boot_id="now", pid=1)
        run_id = run.id
    services = Services(
        run_id=run_id,
        host=cast(Any, SimpleNamespace(connector=Connector(cloud.done))),
        ledger=state.ledger,
        catalogue=state.catalogue,
        observer=cast(Any, None),
        slots=Slots(1, threading.Event()),
    )
    return Work(services, volume_id, cloud.cinder(), cast(Any, None), cast(Any, None))


def end(state: State, work: Work) -> None:
    """End the run of this work."""
    state.runs.update(work.services.run_id, state=RunState.FAILED)
