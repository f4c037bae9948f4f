"""The lock that a copy holds on the repository while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from persistence import Entry
from volflow.tasks.base import Temporary
from volflow.tasks.work import Work


class RepositoryLock(Temporary):
    """Makes sure that no lock stays in the repository of a copy that was killed.

    It is no step of a flow: the mover takes the lock, and gives it back unless it is killed.
    """

    kind = "lock"

    @classmethod
    @contextmanager
    def watched(cls, work: Work) -> Iterator[None]:
        """While the block runs, the repository may be locked; if it fails, the lock may stay."""
        cls.release(work)  # one of a process that was killed
        run_id, tag = work.services.run_id, work.tag(cls.kind)
        work.services.ledger.intend(tag, run_id=run_id, item=work.volume_id, kind=cls.kind)
        yield
        work.services.ledger.gone(tag)

    @classmethod
    def release(cls, work: Work) -> None:
        """Remove the lock of a copy that has failed or was killed. Never raises."""
        cls.dispose(work, work.tag(cls.kind))

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        work.repository.unlock()
