"""Being the one process that drives a run, and staying it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persistence import Held, Lease, Leases, StateError
from volflow.errors import DrivenError
from volflow.host.identity import boot_id, host_name

LOG = logging.getLogger(__name__)

# Seconds that a lease lasts unless it is renewed.
_SECONDS = 60.0
# Seconds between two beats; a lease is renewed at every one.
_BEAT = 3.0

# Metadata key of the volumes of a run that is alive: when that was, in UTC. For those who cannot
# see the lease, because they have another state database.
ALIVE_KEY = "volflow_alive"
# Seconds between two such signs.
ALIVE_EVERY = 600.0


def owner() -> str:
    """This process, among all of all hosts and boots."""
    return f"{host_name()} {boot_id()} {os.getpid()} {_started(os.getpid())}"


def is_driven(leases: Leases, run_id: str) -> bool:
    """Whether a process that is alive, as far as can be told, drives this run."""
    holder = leases.holder(_name(run_id))
    return holder is not None and not _is_dead(holder.owner)


@contextmanager
def driving(
    leases: Leases, run_id: str, *, beat: Callable[[], None], lost: Callable[[], None]
) -> Iterator[None]:
    """Hold the lease of a run while the block runs.

    :param beat: called every few seconds, from another thread
    :param lost: called, from that thread, when another process has taken the lease
    :raises DrivenError: another process drives this run
    """
    lease = _acquire(leases, run_id)
    over = threading.Event()

    def renew() -> None:
        while not over.wait(_BEAT):
            try:
                leases.renew(lease)
                beat()
            except Held:
                LOG.exception("Another process has taken run %s", run_id)
                lost()
                return
            except StateError:
                LOG.exception("The lease of run %s could not be renewed yet", run_id)

    thread = threading.Thread(target=renew, name=f"lease of {run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        leases.release(lease)


def _name(run_id: str) -> str:
    return f"run {run_id}"


def _acquire(leases: Leases, run_id: str) -> Lease:
    name = _name(run_id)
    while True:
        try:
            return leases.acquire(name, owner(), _SECONDS)
        except Held:
            holder = leases.holder(name)
        if holder is not None and not _is_dead(holder.owner):
            host, _, pid, _ = holder.owner.split(" ")
            raise DrivenError(
                f"Run {run_id} is being driven by process {pid} on host {host}. If that host is "
                f"dead, the run is free at {holder.until:%H:%M:%S} UTC."
            )
        # It was killed on this very host: there is no need to wait until its lease runs out. But
        # another process that found the same can be quicker.
        if holder is not None:
            leases.release(holder)


def _is_dead(who: str) -> bool:
    """Whether the owner was a process of this host that is no more."""
    host, boot, pid, started = who.split(" ")
    if host != host_name():
        return False
    return boot != boot_id() or _started(int(pid)) != started


def _started(pid: int) -> str:
    """When the process started, in clock ticks since boot (proc_pid_stat(5), field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name, which can hold anything, in parentheses.
    fields = text.rpartition(")")[2].split()
    # A zombie has ended, though its parent has not been told yet.
    return "" if fields[0] == "Z" else fields[19]
