"""The locks of a repository of restic, and when restic may remove them."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from volflow.errors import RepositoryError
from volflow.host.identity import Process, host_name, started
from volflow.host.privilege import find_program
from volflow.movers.restic.program import ResticProgram, time_of

# Seconds for the removal of a lock; restic tries for minutes to reach a repository.
_LIMIT = 20.0
# Seconds for a restic to end after its volflow has ended, and between two looks at it. It gets
# SIGINT at once, and SIGKILL after five seconds (volflow/host/program.py).
_ENDS_WITHIN, _LOOK = 15.0, 0.1
# restic takes a lock for stale that was not refreshed for so long, whosever it is.
_STALE = timedelta(minutes=30)
# The names of the program, as packages and releases have them: restic, restic_0.17.3_linux_amd64.
_RESTIC = re.compile(r"restic([-_.]?v?\d.*)?")
# What the kernel adds to the name of a program whose file was replaced.
_REPLACED = " (deleted)"


@dataclass(frozen=True)
class Lock:
    """A lock. Its file never changes: a new one refreshes it.

    :ivar host: the name of the host of its process
    :ivar time: when it was made or refreshed, by the clock of its host
    """

    id: str
    host: str
    pid: int
    time: datetime

    def is_of(self, processes: Iterable[Process]) -> bool:
        """Whether one of these processes may have written it."""
        return any(one.pid == self.pid and one.may_have_lived(self.time) for one in processes)

    def is_stale(self) -> bool:
        """Whether it is so old that restic looks at nothing else."""
        return datetime.now(UTC) >= self.time + _STALE


class Locks:
    """The locks of one repository.

    :param program: restic, set up for the repository
    """

    def __init__(self, program: ResticProgram) -> None:
        self._program = program

    def remove(self, owners: Sequence[Process] = (), others: Sequence[Process] = ()) -> None:
        """Remove the locks of processes that have ended. Locks of running ones stay.

        Without a lock of one of the owners there is nothing to do.

        ``restic unlock`` judges all locks with the name of this host. It sends SIGHUP to the
        process that a lock names, which restic and volflow's programs ignore and which ends most
        others; and it
        removes the lock if it does not see the process. Containers and cloned hosts share a host
        name, and there the process can be alive, or another one can have its number here. So restic
        may remove locks only if each names a restic that is seen here, or a process of which it is
        proved that it has ended, and that it lived at the time of the lock.

        A process elsewhere with this host name that takes its lock after the last look at them, in
        the moment before restic itself looks, can lose it: no command of restic removes a certain
        lock only. A host name of its own for each container prevents that.

        :param owners: processes that may have held a lock, and whose volflow has ended. One that
            still runs is about to end: it is waited for.
        :param others: processes that may hold other locks; they may run
        :raises RepositoryError: a lock stays: its process runs, or it is not proved that it has
            ended, or it is a zombie, which restic takes for a running process; or restic would end
            another program
        """
        deadline = time.monotonic() + _ENDS_WITHIN
        locks: dict[str, Lock] = {}
        while True:
            before, locks = locks, self._read(locks)
            ours = _of_this_host(locks)
            if not any(lock.is_of(owners) for lock in ours):
                return
            for lock in ours:
                self._check(lock, owners, others, deadline)
            # The last look at the list comes immediately before that of restic.
            if locks.keys() <= before.keys():
                break
        self._program.run("unlock", limit=_LIMIT)
        for lock in _of_this_host(self._read(locks)):
            if lock.is_of(owners):
                raise RepositoryError(
                    f"{self._name(lock)} cannot be removed yet: process {lock.pid} that held it "
                    "has not ended, or is still a zombie, or another restic has its number by now. "
                    "Use 'volflow leftover clean' when it is gone."
                )

    def _check(
        self, lock: Lock, owners: Sequence[Process], others: Sequence[Process], deadline: float
    ) -> None:
        """Make sure that restic does no harm with this lock.

        :raises RepositoryError: it could
        """
        if lock.is_stale():
            return
        until = f"{lock.time + _STALE:%H:%M} UTC"
        if _is_seen_until(lock.pid, owners, deadline):
            found = self._program_of(lock.pid)
            if self._is_restic(found) or _is_zombie(lock.pid) or _ignores_hangup(lock.pid):
                return
            # It may have ended meanwhile.
            if _is_seen(lock.pid):
                raise RepositoryError(
                    f"{self._name(lock)} names process {lock.pid}, and here that is "
                    f"{found or 'an unknown program'}, not restic: 'restic unlock' would send it "
                    f"SIGHUP, which ends most programs. Do not use it while process {lock.pid} "
                    f"exists. Wait until {until}, or until process {lock.pid} has ended, then use "
                    "'volflow leftover clean'."
                )
        if not any(lock.is_of([one]) and one.has_ended() for one in (*owners, *others)):
            raise RepositoryError(
                f"{self._name(lock)} may belong to a running process: {lock.pid} on a host named "
                f"{host_name()}, which can be another container or a cloned host. Make sure that "
                "nothing works in the repository, then use 'restic unlock'; or wait until "
                f"{until}, then use 'volflow leftover clean'."
            )

    def _name(self, lock: Lock) -> str:
        return f"Lock {lock.id[:8]} of the repository {self._program.location}"

    def _program_of(self, pid: int) -> str:
        """The path of the program that a process runs; empty if it cannot be determined."""
        if not _proc_is_ours():
            return ""
        link = f"/proc/{pid}/exe"
        try:
            return os.readlink(link).removesuffix(_REPLACED)
        except OSError:
            # Only root may read it if root runs the program; volflow starts restic by sudo.
            done = self._program.privilege.attempt("readlink", link)
            return done.stdout.strip().removesuffix(_REPLACED) if done.returncode == 0 else ""

    def _is_restic(self, path: str) -> bool:
        """Whether a program is restic. One of another name is, if it is the configured one."""
        if not path or _RESTIC.fullmatch(os.path.basename(path)):
            return bool(path)
        configured = find_program(self._program.settings.program)
        return configured is not None and path == os.path.realpath(configured)

    def _read(self, known: Mapping[str, Lock]) -> dict[str, Lock]:
        """The locks that exist now, by id.

        :param known: those that need not be read again
        """
        found: dict[str, Lock] = {}
        for lock_id in self._ids():
            if lock_id in known:
                found[lock_id] = known[lock_id]
                continue
            try:
                said = self._program.run("cat", "lock", lock_id, "--no-lock", limit=_LIMIT)
            except RepositoryError:
                if lock_id in self._ids():
                    raise
                continue  # A running process has removed its lock meanwhile.
            lock = json.loads(said)
            host, pid, moment = lock["hostname"], int(lock["pid"]), time_of(lock["time"])
            found[lock_id] = Lock(lock_id, host, pid, moment)
        return found

    def _ids(self) -> list[str]:
        return self._program.run("list", "locks", "--no-lock", limit=_LIMIT).split()


def _of_this_host(locks: Mapping[str, Lock]) -> list[Lock]:
    return [lock for lock in locks.values() if lock.host == host_name()]


def _is_seen_until(pid: int, owners: Sequence[Process], deadline: float) -> bool:
    """Whether the process that a lock names is still there after it could have ended.

    A zombie, and one of these processes, disappears by itself, but may need some seconds.
    """
    while _is_seen(pid):
        ending = not started(pid) or any(one.pid == pid and one.runs() for one in owners)
        if not ending or time.monotonic() > deadline:
            return True
        time.sleep(_LOOK)
    return False


def _is_seen(pid: int) -> bool:
    """Whether restic sees a process: also a zombie, and only in this PID namespace."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # of another user, or no number of a process
    return True


def _is_zombie(pid: int) -> bool:
    """Whether a process has ended and only its parent has not noticed: no signal harms it."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    # The first thread of a living process can have ended.
    return _proc_is_ours() and len(threads) == 1 and not started(pid)


def _ignores_hangup(pid: int) -> bool:
    """Whether a process ignores SIGHUP, as volflow's own programs with a lock do."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return False
    found = re.search(r"^SigIgn:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return _proc_is_ours() and bool(found and int(found[1], 16) & 1 << signal.SIGHUP - 1)


def _proc_is_ours() -> bool:
    """Whether /proc has the numbers of this PID namespace (pid_namespaces(7))."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False
