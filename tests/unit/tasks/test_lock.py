"""The locks that a killed run left in its repository."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.host.identity import Process
from volflow.tasks.lock import RepositoryLock

ONE, OTHER = (Process("h", "b", pid, "1", "m", "4:1") for pid in (101, 102))


def test_the_processes_of_all_volumes_prove_that_a_lock_is_free(
    state: State, cloud: FakeClient
) -> None:
    asked: list[tuple[Sequence[Process], Sequence[Process]]] = []

    def unlock(owners: Sequence[Process], others: Sequence[Process]) -> None:
        asked.append((owners, others))

    repository: Any = SimpleNamespace(unlock=unlock)
    works = [work_of(state, cloud, cloud.put()) for _ in range(2)]
    for work, process in zip(works, (ONE, OTHER), strict=True):
        work.repository = repository
        state.ledger.intend(
            work.tag(RepositoryLock.kind),
            run_id=work.services.run_id,
            item=work.volume_id,
            kind=RepositoryLock.kind,
            details={"processes": [str(process)]},
        )
    for work in works:
        RepositoryLock.release(work)
    # The second is free by then, so the first proves nothing any more.
    assert asked == [([ONE], [OTHER]), ([OTHER], [])]
    assert state.ledger.open() == []
