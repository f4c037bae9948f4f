"""A wait for a resource ends with the resource's state, at its limit, or when asked to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from volflow.cloud.wait import Wait, existing
from volflow.errors import (
    CloudError,
    NotDeletedError,
    ResourceNotFoundError,
    StoppedError,
    WaitError,
)

# Ends by its limit.
SHORT = Wait(interval=0.001, interval_max=0.002, limit=0.2, limit_per_gib=0.0)
# Never ends by its limit, however busy the machine is.
LONG = Wait(interval=0.001, interval_max=0.002, limit=3600.0)
GONE = ResourceNotFoundError("404")


class Looking:
    """A resource that has these states or errors in turn, and keeps the last one.

    :ivar count: how often it was read
    """

    def __init__(self, *answers: str | Exception) -> None:
        self._following: Iterator[str | Exception] = iter(answers)
        self._last = answers[-1]
        self.count = 0

    def __call__(self) -> dict[str, Any]:
        self.count += 1
        answer = next(self._following, self._last)
        if isinstance(answer, Exception):
            raise answer
        return {"status": answer, "id": "x"}


def test_a_wait_ends_when_the_resource_is_ready() -> None:
    found = LONG.until(Looking("creating", "creating", "available"), ("available",), what="It")
    assert found["status"] == "available"


def test_an_error_state_ends_a_wait_with_its_reason() -> None:
    with pytest.raises(WaitError, match="It is in state 'error': no room"):
        LONG.until(
            Looking("creating", "error"), ("available",), what="It", reason=lambda _: "no room"
        )


def test_a_wait_ends_at_its_limit() -> None:
    started = time.monotonic()
    with pytest.raises(WaitError, match=r"It is still 'creating' after the time allowed.*limit"):
        SHORT.until(Looking("creating"), ("available",), what="It")
    assert time.monotonic() - started >= SHORT.limit


def test_a_large_volume_gets_more_time() -> None:
    wait = Wait(interval=0.001, interval_max=0.002, limit=0.0, limit_per_gib=0.02)
    started = time.monotonic()
    with pytest.raises(WaitError):
        wait.until(Looking("creating"), ("available",), what="It", size_gib=10)
    assert time.monotonic() - started >= 0.2


def test_a_stop_interrupts_the_pause_of_a_wait() -> None:
    stopping = threading.Event()
    slow = Wait(interval=60, interval_max=60, limit=3600)
    started = time.monotonic()
    threading.Timer(0.02, stopping.set).start()
    with pytest.raises(StoppedError):
        slow.until(Looking("creating"), ("available",), what="It", stopping=stopping)
    assert time.monotonic() - started < slow.interval


def test_a_stop_ends_the_wait_for_a_deletion() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(StoppedError, match="Stopped while waiting for It"):
        LONG.until_gone(Looking("deleting"), what="It", stopping=stopping)


def test_an_error_ends_a_wait() -> None:
    """The call that reads the resource has been patient already."""
    with pytest.raises(CloudError, match="503"):
        LONG.until(Looking("creating", CloudError("503")), ("available",), what="It")


def test_the_time_in_which_the_api_is_away_does_not_count() -> None:
    slow = Wait(interval=0.001, interval_max=0.002, limit=0.2, limit_per_gib=0.0)
    states = iter(["creating", "creating", "available"])

    def look() -> dict[str, Any]:
        time.sleep(2 * slow.limit)
        return {"status": next(states), "id": "x"}

    assert slow.until(look, ("available",), what="It", grace=60.0)["status"] == "available"


def test_the_time_for_an_absent_api_has_a_limit_too() -> None:
    def look() -> dict[str, Any]:
        time.sleep(SHORT.limit)
        return {"status": "creating", "id": "x"}

    with pytest.raises(WaitError, match="after the time allowed"):
        SHORT.until(look, ("available",), what="It", grace=2 * SHORT.limit)


def test_a_change_of_a_resource_is_waited_for() -> None:
    assert LONG.until_settled(Looking("creating", "error"), what="It") == {
        "status": "error",
        "id": "x",
    }
    assert LONG.until_settled(Looking("deleting", GONE), what="It") is None
    # It ends in "ing", too.
    look = Looking("error_deleting")
    assert LONG.until_settled(look, what="It") == {"status": "error_deleting", "id": "x"}
    assert look.count == 1
    with pytest.raises(WaitError, match="It is still 'creating' after the time allowed"):
        SHORT.until_settled(Looking("creating"), what="It")


def test_a_wait_for_a_missing_resource_fails() -> None:
    with pytest.raises(ResourceNotFoundError):
        LONG.until(Looking("creating", GONE), ("available",), what="It")


def test_the_wait_for_a_deletion_ends_when_the_resource_is_gone() -> None:
    LONG.until_gone(Looking("deleting", "deleting", GONE), what="It")


def test_a_failed_deletion_ends_the_wait_with_its_reason() -> None:
    with pytest.raises(WaitError, match="It could not be deleted by Cinder: busy"):
        LONG.until_gone(Looking("deleting", "error_deleting"), what="It", reason=lambda _: "busy")


def test_the_wait_for_a_deletion_ends_at_its_limit() -> None:
    with pytest.raises(WaitError, match="not gone, still 'deleting'"):
        SHORT.until_gone(Looking("deleting"), what="It")


@pytest.mark.parametrize("state", ["available", "in-use", "error"])
def test_a_deletion_that_cinder_cancels_is_reported_early(state: str) -> None:
    look = Looking("deleting", state)
    with pytest.raises(
        NotDeletedError, match=f"It was not deleted by Cinder, and is '{state}' again: busy"
    ):
        LONG.until_gone(look, what="It", reason=lambda _: "busy")
    assert look.count == 3


def test_a_deletion_that_never_begins_is_reported_early() -> None:
    look = Looking("available")
    with pytest.raises(WaitError, match="is 'available' again"):
        LONG.until_gone(look, what="It")
    assert look.count == 5


def test_a_database_may_lag_behind_during_a_deletion() -> None:
    LONG.until_gone(
        Looking("available", "available", "deleting", "available", "deleting", GONE), what="It"
    )


def test_a_single_404_does_not_prove_a_deletion() -> None:
    with pytest.raises(WaitError, match="could not be deleted"):
        LONG.until_gone(Looking("deleting", GONE, "deleting", "error_deleting"), what="It")


def test_a_resource_exists_unless_two_404s_follow_each_other() -> None:
    assert existing(Looking(GONE, "available")) == {"status": "available", "id": "x"}
    assert existing(Looking(GONE)) is None
