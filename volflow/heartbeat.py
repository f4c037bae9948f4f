"""Being the one process that drives a run, and staying it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from persistence import Held, Lease, Leases, StateError
from volflow.host.identity import boot_id, host_name

LOG = logging.getLogger(__name__)

# Seconds that a lease lasts unless it is renewed; it is, three times as often.
SECONDS = 60.0


def owner() -> str:
    """This process, among all of all hosts and boots."""
    return f"{host_name()} {boot_id()} {os.getpid()} {_started(os.getpid())}"


@contextmanager
def driving(leases: Leases, run_id: str, lost: Callable[[], None]) -> Iterator[None]:
    """Hold the lease of a run while the block runs.

    :param lost: called, from another thread, when another process has taken the lease
    :raises Held: another process drives this run
    """
    lease = _acquire(leases, f"run {run_id}")
    over = threading.Event()

    def renew() -> None:
        while not over.wait(SECONDS / 3):
            try:
                leases.renew(lease)
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


def _acquire(leases: Leases, name: str) -> Lease:
    try:
        return leases.acquire(name, owner(), SECONDS)
    except Held:
        holder = leases.holder(name)
        if holder is not None and not _is_dead(holder.owner):
            raise
        # It was killed on this very host: there is no need to wait until its lease runs out.
        if holder is not None:
            leases.release(holder)
        return leases.acquire(name, owner(), SECONDS)


def _is_dead(who: str) -> bool:
    host, boot, pid, started = who.split(" ")
    return (host, boot) == (host_name(), boot_id()) and _started(int(pid)) != started


def _started(pid: int) -> str:
    """When the process started, in clock ticks since boot (proc_pid_stat(5), field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name, which can hold anything, in parentheses.
    return text.rpartition(")")[2].split()[19]
