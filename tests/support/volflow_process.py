"""One command of volflow in a separate process with hooks, which a test can kill.

It is forked from a process that has imported everything, which saves the seconds that a start
of Python takes.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.support import names
from tests.support.step_hooks import Hook, install

_PRELOADED = [
    "tests.support.volflow_process",
    "volflow.api.volflow",
    "volflow.cloud.connection",
    "volflow.host.connector",
    "volflow.runs.runner",
    "persistence.backend",
    "persistence.migrations",
    "openstack.config",
    "psycopg",
]


@dataclass(frozen=True)
class Order:
    """The command that the process runs.

    :ivar verb: ``backup``, ``restore``, ``resume``, ``abort`` or ``clean``
    :ivar what: volumes, backups or runs
    :ivar options: those of a restore, or the selection of a backup instead of volumes
    :ivar names: the file of the names of hosts that the process knows
    """

    directory: Path
    config: Path
    environment: dict[str, str]
    verb: str
    what: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    hooks: tuple[Hook, ...] = ()
    names: Path | None = None

    @property
    def mark(self) -> Path:
        """The file that is made when a hook has happened."""
        return self.directory / "happened"

    @property
    def place(self) -> Path:
        """The file with the name of the running step, if only one flow runs."""
        return self.directory / "step"

    @property
    def lookups(self) -> Path:
        """The file that grows with each look-up of a name or address."""
        return self.directory / "lookups"

    @property
    def answer(self) -> Path:
        return self.directory / "answer.json"

    @property
    def log(self) -> Path:
        return self.directory / "log"


@dataclass(frozen=True)
class Answer:
    """The result of a process.

    :ivar exit: the process's exit status, negative for a signal; None when it hung
    :ivar result: the outcome of the run, or the leftovers that remain
    :ivar seconds: how long the process ran
    :ivar peak_mib: the largest resident memory of the process, without its children
    """

    exit: int | None
    result: Any = None
    error: str | None = None
    volumes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: float = 0.0


def context() -> Any:
    """The context that forks processes."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def ready() -> None:
    """Start the process from which others are forked; it ends with this process."""
    context()
    forkserver.ensure_running()


def start(order: Order) -> ForkServerProcess:
    """Start the process."""
    order.answer.unlink(missing_ok=True)
    # It ends with its parent.
    process = context().Process(target=_work, args=(order,), daemon=True)
    process.start()
    return process


def finish(order: Order, process: ForkServerProcess, seconds: float = 600.0) -> Answer:
    """Wait for the process, and return its answer."""
    began, peak = time.monotonic(), 0.0
    while process.exitcode is None and time.monotonic() < began + seconds:
        peak = max(peak, _peak_mib(process.pid))
        process.join(0.1)
    measured = {"seconds": time.monotonic() - began, "peak_mib": peak}
    if process.exitcode is None:
        process.kill()
        process.join()
        return Answer(exit=None, error=f"it hung for {seconds:.0f} seconds", **measured)
    try:
        told = json.loads(order.answer.read_text())
    except FileNotFoundError:
        return Answer(exit=process.exitcode, **measured)
    return Answer(exit=process.exitcode, **told, **measured)


def _peak_mib(pid: int | None) -> float:
    """The largest resident memory of a process so far (proc(5), VmHWM); 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def carry_out(order: Order) -> Answer:
    """Start the process and wait for it."""
    return finish(order, start(order))


def _work(order: Order) -> None:
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order.environment)
    if order.names:
        names.install(order.names, order.lookups)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
    print(f"--- {order.verb} {' '.join(order.what)}", flush=True)
    try:
        told = _command(order)
    except Exception as error:  # noqa: BLE001 - it is the answer
        traceback.print_exc()
        told = {"error": f"{type(error).__name__}: {error}"}
    fresh = order.answer.with_suffix(".new")
    fresh.write_text(json.dumps(told))
    fresh.replace(order.answer)


def _command(order: Order) -> dict[str, Any]:
    from volflow import config
    from volflow.api.volflow import Volflow
    from volflow.context import Context
    from volflow.plans.selection import Selection
    from volflow.results.options import RestoreOptions

    install(order.hooks, order.mark, order.place)
    with Volflow(Context(config.load([str(order.config)]))) as volflow:
        if order.verb == "clean":
            cleaned = volflow.leftovers.clean(lost=False, older_than=timedelta(0))
            return {"result": [(leftover.tag, why) for leftover, why in cleaned]}
        if order.verb == "backup":
            result = volflow.backups.create(
                Selection(**order.options) if order.options else order.what
            )
        elif order.verb == "restore":
            options = RestoreOptions(**order.options)
            result = volflow.restores.run(volflow.restores.plan(order.what, options))
        else:
            found = getattr(volflow.runs, order.verb)(order.what[0])
            if found is None:
                return {"result": None}
            result = found
    told = result.to_dict()
    return {"result": told["outcome"], "volumes": told["volumes"]}
