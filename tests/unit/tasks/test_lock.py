"""The locks that a killed run left in its repository."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.errors import RepositoryError
from volflow.host.identity import Process
from volflow.host.privilege import Privilege
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


def processes(state: State, tag: str) -> list[Process]:
    entry = state.ledger.find(tag)
    assert entry is not None
    found = map(Process.parse, entry.details["processes"])
    return [process for process in found if process]


def test_the_end_of_a_process_is_recorded(state: State, cloud: FakeClient) -> None:
    """A later lock with its id is that of another process."""
    work = work_of(state, cloud, cloud.put())
    seen: list[datetime | None] = []

    def copy() -> None:
        """Two processes, one after the other."""
        with RepositoryLock.watched(work):
            for _ in range(2):
                with Privilege().start("sleep", "0.3") as process:
                    process.note("sleep")
                    process.wait()
                seen.extend(one.ended for one in processes(state, work.tag("lock")))
            raise RepositoryError("It is full.")

    before = datetime.now(UTC)
    with pytest.raises(RepositoryError):
        copy()
    # The first was seen to have ended when the second began.
    assert [moment is None for moment in seen] == [True, False, True]
    first, second = (one.ended for one in processes(state, work.tag("lock")))
    assert first is not None
    assert second is not None
    assert before <= first <= second <= datetime.now(UTC)


def test_the_end_of_what_a_killed_process_left_is_recorded(state: State, cloud: FakeClient) -> None:
    asked: list[Process] = []

    def unlock(owners: Sequence[Process], others: Sequence[Process]) -> None:
        asked.extend(owners)
        raise RepositoryError("It cannot be reached.")

    work = work_of(state, cloud, cloud.put())
    work.repository = cast(Any, SimpleNamespace(unlock=unlock))
    with subprocess.Popen(["sleep", "1000"]) as process:
        left = Process.of(process.pid)
        process.kill()
    state.ledger.intend(
        work.tag("lock"),
        run_id=work.services.run_id,
        item=work.volume_id,
        kind="lock",
        details={"processes": [str(left), str(ONE)]},
    )
    RepositoryLock.release(work)
    found = processes(state, work.tag("lock"))
    assert found == [left, ONE]
    assert found[0].ended == asked[0].ended is not None
    assert found[1].ended is None
    RepositoryLock.release(work)
    assert processes(state, work.tag("lock"))[0].ended == found[0].ended
