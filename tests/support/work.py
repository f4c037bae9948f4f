"""A volume's part in a run, for tests that execute and revert single tasks."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from persistence import RunState, State
from tests.support.fake_cinder import FakeClient
from tests.support.rehearsals import Able
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

    def address(self, connection: dict[str, Any]) -> dict[str, Any]:
        return {"driver_volume_type": connection["driver_volume_type"]}

    def connect(self, connection: dict[str, Any]) -> dict[str, Any]:
        self._done.append("connect")
        return {"path": "/dev/standin", "type": "block"}

    def disconnect(self, connection: Any, info: Any, *, discard: bool) -> None:
        self._done.append(f"disconnect{' (discard)' if discard else ''}")

    def ends_with_attachment(self, connection: dict[str, Any]) -> bool:
        return False

    def paths(self, connection: dict[str, Any]) -> list[str]:
        return []


class Host:
    """A host whose one device appears when it is connected, and stays until it is taken away.

    :ivar device: the device that os-brick returns
    :ivar newest: the number of the newest device before that
    :ivar left: the devices that exist after a disconnect
    """

    def __init__(self, done: list[str]) -> None:
        self.connector = Connector(done)
        self.device = StandinDevice()
        self.newest = 7
        self.left: list[str] = []

    def newest_device(self) -> int:
        return self.newest

    def block_device(self, path: str) -> StandinDevice:
        return self.device

    def remaining(self, sequences: dict[str, int]) -> list[str]:
        return [path for path in self.left if path.removeprefix("/dev/") in sequences]


@dataclass
class StandinDevice:
    """A block device as large as the volumes of the standin cloud."""

    name: str = "standin"
    sequence: int = 8
    size: int = 1024**3

    @property
    def parts(self) -> list[StandinDevice]:
        return [self]

    @property
    def sysfs_path(self) -> Path:
        return Path("/sys/devices/virtual/block") / self.name

    def attribute(self, name: str) -> str:
        return ""


def work_of(state: State, cloud: FakeClient, volume_id: str, run_id: str | None = None) -> Work:
    """A volume's part in a new run.

    :param run_id: a run that the state database does not know, instead of a new one
    """
    if run_id is None:
        run = state.runs.create("restore", {}, [(volume_id, "")], host="here", boot_id="now", pid=1)
        run_id = run.id
    services = Services(
        run_id=run_id,
        host=cast(Any, Host(cloud.done)),
        ledger=state.ledger,
        catalogue=state.catalogue,
        observer=cast(Any, None),
        rehearsal=cast(Any, Able()),
        slots=Slots(1, threading.Event()),
    )
    return Work(services, volume_id, cloud.cinder(), cast(Any, None), cast(Any, None))


def end(state: State, work: Work) -> None:
    """End the run of this work."""
    state.runs.update(work.services.run_id, state=RunState.FAILED)
