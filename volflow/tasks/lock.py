"""The lock that a copy holds on the repository while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from persistence import Entry, EntryState
from volflow.host import program
from volflow.host.identity import Process
from volflow.tasks.as_left import note
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work

# The number of processes to remember; each attempt of a copy is one.
_KEPT = 20


class RepositoryLock(Temporary):
    """Makes sure that a killed copy leaves no lock in the repository.

    It is not a step of a flow: the mover takes the lock, and releases it unless it is killed.
    """

    kind = "lock"

    @classmethod
    @contextmanager
    def watched(cls, work: Work) -> Iterator[Callable[[], None]]:
        """Record a lock in the ledger while the block runs; if it fails, the entry stays.

        Yields a function to call if the repository has lost something that it had accepted: the
        removal of the lock can be lost too.
        """
        cls.release(work)  # left by a killed process
        ledger, tag = work.services.ledger, work.tag(cls.kind)
        left = ledger.find(tag)
        stays = left is not None and left.state is not EntryState.GONE
        # Also of a copy that went well: a proxy may have answered in the place of the repository.
        processes = _processes(left) if left else []

        def intend() -> None:
            ledger.intend(
                tag,
                run_id=work.services.run_id,
                item=work.volume_id,
                kind=cls.kind,
                details={"processes": _texts(processes[-_KEPT:])},
            )

        def doubt() -> None:
            nonlocal stays
            stays = True

        def started(pid: int) -> None:
            # The mover writes its process id into the lock. Only this entry names the run of it.
            processes[:] = [*_looked_at(processes), Process.of(pid)]
            intend()

        intend()
        try:
            with program.noting(started):
                yield doubt
        finally:
            found = _looked_at(processes)
            if _texts(found) != _texts(processes):
                processes[:] = found
                # A lock of a later time is that of another process with the same id.
                intend()
        if stays:
            cls.release(work)
        else:
            ledger.gone(tag)

    @classmethod
    def release(cls, work: Work) -> None:
        """Remove the lock of a copy that failed or was killed. Never raises."""
        cls.dispose(work, work.tag(cls.kind))

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        processes = _processes(entry)
        owners = _looked_at(processes)
        if _texts(owners) != _texts(processes):
            # Its volflow was killed and could not record this. The next attempt may be much later.
            note(work, entry.tag, processes=_texts(owners))
        # One run has locks for several volumes: their processes prove as much.
        others = work.services.ledger.open(kind=cls.kind)
        work.repository.unlock(
            owners,
            [process for one in others if one.tag != entry.tag for process in _processes(one)],
        )


def _processes(entry: Entry) -> list[Process]:
    """The processes that may have held a lock."""
    found = map(Process.parse, entry.details.get("processes", ()))
    return [process for process in found if process]


def _looked_at(processes: Iterable[Process]) -> list[Process]:
    return [process.looked_at() for process in processes]


def _texts(processes: Iterable[Process]) -> list[str]:
    return list(map(str, processes))
