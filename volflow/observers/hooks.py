"""The operator's own command, which volflow runs when a run or a volume starts or ends."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import IO, Any

from oslo_config import cfg, types

from persistence import ItemState, Runs, StateError
from volflow import logs, times
from volflow.errors import HostError, NoProgressError, VolflowError
from volflow.host.identity import host_name
from volflow.host.program import Limit, Program, bound, undisturbed
from volflow.observers.progress import NullObserver
from volflow.printable import bounded, printable
from volflow.results.outcome import RunResult, VolumeResult

LOG = logging.getLogger(__name__)

# Number of bytes of a hook's output to keep for the log.
_TAIL = 2000


class Event(StrEnum):
    """The events that run a hook. An end is either ``end`` or ``failure``, never both."""

    RUN_START = "run.start"
    RUN_RESUME = "run.resume"
    RUN_SUSPEND = "run.suspend"
    RUN_END = "run.end"
    RUN_FAILURE = "run.failure"
    VOLUME_START = "volume.start"
    VOLUME_END = "volume.end"
    VOLUME_FAILURE = "volume.failure"


class Hooks(NullObserver):
    """Runs the hook, and waits for it: a volume's first step begins when its hook has ended.

    :param conf: the options of ``[hooks]``
    """

    def __init__(self, conf: Any, runs: Runs) -> None:
        self._hook = Hook(conf)
        self._runs = runs
        self._run_id, self._kind = "", ""
        self._names: dict[str, str] = {}
        self._begun: set[str] = set()
        self._lock = threading.Lock()

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        run, items = self._runs.get(run_id), self._runs.items(run_id)
        self._run_id, self._kind, self._names = run.id, run.kind, dict(volumes)
        begun = any(item.state is not ItemState.PENDING for item in items)
        self._tell(Event.RUN_RESUME if begun else Event.RUN_START, volumes=self._names)

    def step(self, volume_id: str, step: str, state: str) -> None:
        with self._lock:
            if volume_id in self._begun:
                return
            self._begun.add(volume_id)
        self._tell(Event.VOLUME_START, volume_id)

    def ended(self, result: VolumeResult) -> None:
        state = self._runs.item(self._run_id, result.volume_id).state
        event = Event.VOLUME_FAILURE if state is ItemState.FAILED else Event.VOLUME_END
        self._tell(
            event,
            result.volume_id,
            outcome=str(result.outcome) if state is ItemState.LEFT_OUT else state.lower(),
            result=result.to_dict(),
        )

    def over(self, run_id: str, result: RunResult | None) -> None:
        if result is None:
            self._tell(Event.RUN_SUSPEND, outcome="suspended", volumes=self._names)
            return
        outcome = self._runs.get(run_id).state.lower()
        event = Event.RUN_FAILURE if outcome == "failed" else Event.RUN_END
        self._tell(event, outcome=outcome, volumes=self._names, result=result.to_dict())

    def _tell(
        self, event: Event, volume_id: str | None = None, outcome: str | None = None, **more: Any
    ) -> None:
        volume = None if volume_id is None else (volume_id, self._names.get(volume_id, ""))
        self._hook.tell(event, self._kind, self._run_id, volume=volume, outcome=outcome, **more)


class Hook:
    """The operator's command.

    If it fails or takes too long, the log says so; the run is not affected.

    :param conf: the options of ``[hooks]``
    """

    def __init__(self, conf: Any) -> None:
        self._command = shlex.split(conf.command)
        self._events = {Event(name) for name in conf.events}
        self._limit = float(conf.time_limit)

    def tell(
        self,
        event: Event,
        kind: str,
        run_id: str,
        *,
        volume: tuple[str, str] | None = None,
        outcome: str | None = None,
        **more: Any,
    ) -> None:
        """Run the command for an event, if it is configured for that event.

        :param kind: ``backup`` or ``restore``
        :param run_id: empty if there is no run
        :param volume: id and name of the volume, for the event of a volume
        :param more: further values for the JSON document
        """
        if event not in self._events:
            return
        document: dict[str, Any] = {
            "event": str(event),
            "time": times.utc(datetime.now(UTC).replace(microsecond=0)),
            "host": host_name(),
            "run_id": run_id,
            "kind": kind,
            "outcome": outcome,
        }
        volume_id, name = volume or ("", "")
        if volume:
            document |= {"volume_id": volume_id, "volume_name": name}
        variables = {
            "VOLFLOW_EVENT": document["event"],
            "VOLFLOW_RUN": run_id,
            "VOLFLOW_KIND": kind,
            "VOLFLOW_OUTCOME": outcome or "",
            "VOLFLOW_VOLUME": volume_id,
            "VOLFLOW_VOLUME_NAME": name,
        }
        with logs.about(run_id, volume_id or None):
            trouble = self._run(variables, document | more)
            if trouble:
                LOG.warning("The hook for %s %s", event, trouble)

    def _run(self, variables: dict[str, str], document: dict[str, Any]) -> str | None:
        """Run the command; returns what went wrong, if anything."""
        if shutil.which(self._command[0]) is None:
            return f"could not be started: no program '{self._command[0]}' can be executed"
        try:
            # Files, not pipes: volflow need not read and write while the command runs, nor wait for
            # background processes that the command started.
            with (
                tempfile.TemporaryFile() as asked,
                tempfile.TemporaryFile() as said,
                # What volflow tells it matters most when volflow stops.
                undisturbed(),
            ):
                asked.write(json.dumps(document).encode())
                asked.seek(0)
                # Tenants choose names. The JSON has them unchanged.
                more = {key: printable(text) for key, text in variables.items()}
                with Program(
                    "It",
                    bound(self._command),
                    environment=os.environ | more,
                    limit=Limit(self._limit, total=True),
                    stdin=asked,
                    stdout=said,
                    stderr=said,
                ) as process:
                    return self._wait(process, said)
        except (OSError, HostError) as error:
            return f"could not be started: {error}"

    def _wait(self, process: Program, said: IO[bytes]) -> str | None:
        try:
            status = process.wait()
        except NoProgressError:
            return f"was killed after {self._limit:g} seconds: {_tail(said)}"
        if status:
            return f"failed with status {status}: {_tail(said)}"
        LOG.debug("The hook has run: %s", _tail(said))
        return None


@contextmanager
def refusals(conf: Any, kind: str) -> Iterator[None]:
    """Run the hook if a run is refused before it begins, and so has no id.

    :param conf: the options of ``[hooks]``
    :param kind: ``backup`` or ``restore``
    """
    try:
        yield
    except (VolflowError, StateError) as error:
        if conf.command:
            Hook(conf).tell(
                Event.RUN_FAILURE, kind, "", outcome="failed", error=bounded(str(error))
            )
        raise


def _tail(said: IO[bytes]) -> str:
    """The end of the hook's output."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _TAIL))
    return said.read().decode("utf-8", "replace").strip() or "it said nothing"


class CommandLine(types.String):
    """A command with its arguments. Quotes work as in a shell, its other syntax does not."""

    def __call__(self, value: str) -> str:
        if not shlex.split(value):
            raise ValueError("a command must not be empty")
        return str(super().__call__(value))


OPTS: list[cfg.Opt] = [
    cfg.Opt(
        "command",
        type=CommandLine(),
        help="Command to run when a run or a volume starts, ends or fails, without a shell. It "
        "receives the event in variables named VOLFLOW_* and as JSON on its standard input. Its "
        "exit status does not affect the run.",
    ),
    cfg.ListOpt(
        "events",
        item_type=types.String(choices=[str(event) for event in Event]),
        default=[str(event) for event in Event],
        help="Events to run the command for.",
    ),
    cfg.FloatOpt(
        "time_limit",
        default=30.0,
        min=0.1,
        help="Seconds after which the command is killed. The run or volume waits for the command.",
    ),
]
