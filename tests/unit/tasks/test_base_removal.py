"""The removal of a resource is tried again as long as what obstructs it may pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from persistence import EntryState, State
from tests.support.fake_cinder import FakeClient
from tests.support.waiting import until
from tests.support.work import work_of
from volflow.errors import (
    CloudError,
    HostError,
    RepositoryError,
    ResourceNotFoundError,
    StoppedError,
    VolflowError,
    VolumeStateError,
)
from volflow.tasks import base
from volflow.tasks.base import Dispose, Temporary
from volflow.tasks.work import Work

PATIENCE = 300.0


class Clock:
    """Replaces the module ``time``: a sleep takes no time, and moves the clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Obstructed(Temporary):
    """A resource whose removal fails as a test wants it to.

    :cvar obstacles: returns the error of an attempt; None if it succeeds
    """

    kind = "obstructed"
    step = "obstructed"
    obstacle: Callable[[], VolflowError | None]

    def execute(self) -> None:
        self.intend()

    @classmethod
    def remove(cls, work: Work, entry: Any) -> None:
        error = cls.obstacle()
        if error:
            raise error


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(base, "time", found)
    monkeypatch.setattr("volflow.tasks.work.time", found)
    return found


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    found = work_of(state, cloud, "volume")
    return replace(found, services=replace(found.services, patience=PATIENCE))


def refused(status: int | None) -> CloudError:
    return CloudError("refused", status=status)


def removed(work: Work, obstacle: Callable[[], VolflowError | None]) -> bool:
    """Revert the step; returns whether the resource is gone. Otherwise it is a leftover."""
    Obstructed.obstacle = staticmethod(obstacle)
    step = Obstructed(work)
    step.execute()
    step.revert()
    entry = work.services.ledger.find(step.tag)
    assert entry is not None
    assert entry.state in (EntryState.GONE, EntryState.LEFTOVER)
    return entry.state is EntryState.GONE


@pytest.mark.parametrize(
    "error",
    [refused(400), refused(409), VolumeStateError("creating"), HostError("the device is busy")],
    ids=["400", "409", "state of a volume", "busy device"],
)
def test_what_may_pass_is_waited_for_with_all_patience(
    work: Work, clock: Clock, error: VolflowError
) -> None:
    assert removed(work, lambda: error if clock.now < PATIENCE - 1 else None)
    assert clock.now <= PATIENCE


@pytest.mark.parametrize(
    "error",
    [refused(403), refused(401), refused(None), ResourceNotFoundError("no"), RepositoryError("no")],
    ids=["403", "401", "no answer", "404", "repository"],
)
def test_what_stays_costs_seconds(work: Work, clock: Clock, error: VolflowError) -> None:
    assert not removed(work, lambda: error)
    assert 1 < clock.now < 10
    clock.now = 0.0
    assert removed(work, lambda: error if clock.now < 2 else None)


def test_an_obstacle_that_does_not_pass_costs_the_patience_once_in_a_run(
    state: State, cloud: FakeClient, work: Work, clock: Clock
) -> None:
    assert not removed(work, lambda: refused(409))
    assert clock.now == pytest.approx(PATIENCE)
    for volume in ("second", "third", "fourth"):
        other = replace(work_of(state, cloud, volume), services=work.services)
        assert not removed(other, lambda: refused(409))
    assert clock.now < PATIENCE + 3 * 10


def test_without_patience_nothing_is_tried_again(work: Work, clock: Clock) -> None:
    impatient = replace(work, services=replace(work.services, patience=0.0))
    assert not removed(impatient, lambda: refused(409))
    assert clock.now == 0


def test_on_the_way_forward_a_request_to_stop_ends_the_wait(work: Work) -> None:
    tried = threading.Event()

    def busy() -> VolflowError:
        tried.set()
        return refused(409)

    Obstructed.obstacle = staticmethod(busy)
    step, ended = Obstructed(work), []
    step.execute()

    def forward() -> None:
        try:
            Dispose(step).execute()
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=forward)
    thread.start()
    until(tried.is_set)
    work.services.stopping.set()
    thread.join()
    assert len(ended) == 1
    entry = work.services.ledger.find(step.tag)
    assert entry is not None
    assert entry.state is EntryState.INTENDED


def test_a_request_to_stop_does_not_end_the_wait_of_a_revert(work: Work, clock: Clock) -> None:
    work.services.stopping.set()
    assert removed(work, lambda: refused(409) if clock.now < 100 else None)
