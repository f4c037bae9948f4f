"""The lease of a run: only the process that holds it may drive the run."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from persistence import Held, Lease, Leases, StateError
from volflow.errors import DrivenError
from volflow.host.identity import Process

LOG = logging.getLogger(__name__)

# Seconds that a lease lasts unless it is renewed.
_SECONDS = 60.0
# Seconds between two renewals, and between two checks whether the run must stop.
BEAT = 3.0
# The part of a lease's duration for which this process relies on a renewal. The rest leaves time to
# stop before another process may take the run.
_RELIABLE = 0.75
# Seconds to wait at the end of a run for a beat that is still running.
_PATIENCE = 5.0

# Seconds between two signs of life on a run's volumes, for those who cannot see the lease because
# they use another state database.
ALIVE_EVERY = 600.0


def owner() -> str:
    """Identify this process among those of all hosts and boots, and one holder in it.

    Two threads of one program must not drive the same run either.
    """
    return f"{Process.current()} {secrets.token_hex(4)}"


def is_driven(leases: Leases, run_id: str) -> bool:
    """Whether a process drives this run, unless it is proved that it has ended."""
    holder = leases.holder(_name(run_id))
    return holder is not None and not _is_dead(holder.owner)


def _clock() -> float:
    """Seconds since the boot, including those while the host was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RunLease:
    """The right of this process to drive a run, until another process takes it.

    Another process can take it when this one has not renewed the lease in time: because it was
    stopped, its host was suspended, or it could not reach the database. From then on the run
    belongs to the other process, and this one must neither undo nor store anything of it.

    :param clock: returns the time of this host in seconds since any moment
    """

    def __init__(self, leases: Leases, run_id: str, *, clock: Callable[[], float] = _clock) -> None:
        self._leases = leases
        self._run_id = run_id
        self._clock = clock
        self._renewed = clock()
        self._lease = _acquire(leases, run_id)
        self._taken: str | None = None

    @property
    def reliable(self) -> bool:
        """Whether the last renewal is so recent that nobody can have taken the run."""
        return self._clock() - self._renewed < _RELIABLE * self._lease.seconds

    def renew(self) -> None:
        """Renew the lease.

        :raises DrivenError: another process has taken it
        :raises StateError: the database cannot be reached
        """
        # The new lease lasts at least from this moment.
        now = self._clock()
        try:
            self._leases.renew(self._lease)
        except Held as held:
            who = "Another process"
            if held.owner is not None:
                who = _who(held.owner)
                who = who[0].upper() + who[1:]
            self._taken = (
                f"{who} has taken run {self._run_id}, because this one was held up for longer "
                f"than {self._lease.seconds:g} seconds. Nothing was undone here; 'volflow run show "
                f"{self._run_id[:8]}' shows its progress."
            )
            raise DrivenError(self._taken) from held
        self._renewed = now

    def ensure(self, *, ask: bool = False) -> None:
        """Make sure that nobody has taken the run.

        :param ask: ask the database, however recent the last renewal is: while a virtual machine is
            stopped, its clocks stop too
        :raises DrivenError: another process has taken it
        :raises StateError: the last renewal is too old, and the database cannot be reached
        """
        if self._taken is not None:
            raise DrivenError(self._taken)
        if self.reliable and not ask:
            return
        try:
            self.renew()
        except StateError as error:
            if not self.reliable:
                raise
            LOG.info("Nobody can have taken run %s yet: %s", self._run_id, error)

    def release(self) -> None:
        """Release the lease, if this process still holds it."""
        self._leases.release(self._lease)


@contextmanager
def driving(
    leases: Leases,
    run_id: str,
    *,
    beats: Sequence[tuple[float, Callable[[], None]]],
    lost: Callable[[], None],
    every: float = BEAT,
    patience: float = _PATIENCE,
    clock: Callable[[], float] = _clock,
) -> Iterator[RunLease]:
    """Hold the lease of a run while the block runs.

    :param beats: intervals in seconds, and what to call at them. Each has its own thread, so that
        one that waits delays neither the others nor the renewal of the lease.
    :param lost: called from another thread when another process has taken the run, or soon could:
        it must stop what has begun
    :param every: seconds between two renewals
    :param patience: seconds to wait at the end of the block for a beat that is still running
    :param clock: returns the time of this host in seconds since any moment
    :raises DrivenError: another process drives this run
    """
    lease = RunLease(leases, run_id, clock=clock)
    over, reported = threading.Event(), threading.Event()

    def renew() -> None:
        try:
            lease.renew()
        except DrivenError as error:
            if not over.is_set() and not reported.is_set():
                LOG.error("%s", error)
                reported.set()
                lost()
        except StateError as error:
            LOG.warning("The lease of run %s could not be renewed yet: %s", run_id, error)

    # Separate from the renewal, which can hang with the database.
    def watch() -> None:
        if not lease.reliable and not reported.is_set():
            LOG.error(
                "The lease of run %s could not be renewed for too long: suspending the run before "
                "another process can take it",
                run_id,
            )
            reported.set()
            lost()

    acts = {"lease": (every, renew), "watch": (every / 3, watch)}
    acts |= {f"beat {number}": beat for number, beat in enumerate(beats)}
    threads = [
        threading.Thread(target=_repeat, args=(over, *act), name=f"{name} of {run_id}", daemon=True)
        for name, act in acts.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield lease
    finally:
        over.set()
        # Only the first thread touches the lease.
        for thread in threads:
            thread.join(None if thread is threads[0] else patience)
        lease.release()


def _repeat(over: threading.Event, seconds: float, act: Callable[[], None]) -> None:
    """Call a function at a regular interval. An error is logged, and the next call follows."""
    while not over.wait(seconds):
        try:
            act()
        except StateError as error:
            LOG.warning("A task that runs every %g seconds failed: %s", seconds, error)
        except Exception:
            LOG.exception("A task that runs every %g seconds failed", seconds)


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
            raise DrivenError(
                f"Run {run_id} is being driven by {_who(holder.owner)}. If that process has "
                f"ended, the run is free at {holder.until:%H:%M:%S} UTC."
            )
        # The holder was killed here: no need to wait until its lease expires. Another
        # process may take it first.
        if holder is not None:
            leases.release(holder)


def _is_dead(owner: str) -> bool:
    """Whether it is proved that the owner of a lease has ended."""
    process = Process.parse(owner)
    return process is not None and process.has_ended()


def _who(owner: str) -> str:
    """The owner of a lease, for people."""
    process = Process.parse(owner)
    return f"process {process.pid} on host {process.host}" if process else f"'{owner}'"
