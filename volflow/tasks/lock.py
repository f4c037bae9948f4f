"""The lock that a copy holds on the repository while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from persistence import Entry
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class RepositoryLock(Temporary):
    """Makes sure that a killed copy leaves no lock in the repository.

    It is not a step of a flow: the mover takes the lock, and releases it unless it is killed.
    """

    kind = "lock"

    @classmethod
    @contextmanager
    def watched(cls, work: Work) -> Iterator[None]:
        """Record a lock in the ledger while the block runs; if it fails, the entry stays."""
        cls.release(work)  # left by a killed process
        run_id, tag = work.services.run_id, work.tag(cls.kind)
        work.services.ledger.intend(tag, run_id=run_id, item=work.volume_id, kind=cls.kind)
        yield
        work.services.ledger.gone(tag)

    @classmethod
    def release(cls, work: Work) -> None:
        """Remove the lock of a copy that failed or was killed. Never raises."""
        cls.dispose(work, work.tag(cls.kind))

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        work.repository.unlock()
