"""Waiting for a resource: by its state, within limits, and to be stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from volflow.cloud.wait import Wait, existing
from volflow.errors import CloudError, ResourceNotFoundError, StoppedError, WaitError

QUICK = Wait(interval=0.001, interval_max=0.002, limit=0.2, limit_per_gib=0.0)


def looking(*answers: Any) -> Callable[[], dict[str, Any]]:
    """A resource that is in one state after the other, and stays in the last; an error is one."""
    following: Iterator[Any] = iter(answers)
    last = answers[-1]

    def look() -> dict[str, Any]:
        answer = next(following, last)
        if isinstance(answer, Exception):
            raise answer
        return {"status": answer, "id": "x"}

    return look


def test_until_it_is_ready() -> None:
    found = QUICK.until(looking("creating", "creating", "available"), ("available",), what="It")
    assert found["status"] == "available"


def test_an_error_state_ends_it_with_the_reason() -> None:
    with pytest.raises(WaitError, match="It is in state 'error': no room"):
        QUICK.until(
            looking("creating", "error"), ("available",), what="It", reason=lambda _: "no room"
        )


def test_too_long() -> None:
    started = time.monotonic()
    with pytest.raises(WaitError, match=r"It is still 'creating' after the time allowed.*limit"):
        QUICK.until(looking("creating"), ("available",), what="It")
    assert 0.2 <= time.monotonic() - started < 2


def test_a_large_volume_gets_more_time() -> None:
    wait = Wait(interval=0.001, interval_max=0.002, limit=0.0, limit_per_gib=0.02)
    started = time.monotonic()
    with pytest.raises(WaitError):
        wait.until(looking("creating"), ("available",), what="It", size_gib=10)
    assert time.monotonic() - started >= 0.2


def test_to_be_stopped() -> None:
    stopping = threading.Event()
    threading.Timer(0.02, stopping.set).start()
    slow = Wait(interval=30, interval_max=30, limit=60)
    started = time.monotonic()
    with pytest.raises(StoppedError):
        slow.until(looking("creating"), ("available",), what="It", stopping=stopping)
    assert time.monotonic() - started < 5


def test_to_be_stopped_while_it_goes() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(StoppedError, match="Stopped while waiting for It"):
        QUICK.until_gone(looking("deleting"), what="It", stopping=stopping)


def test_a_trouble_that_passes() -> None:
    trouble = CloudError("503")
    found = QUICK.until(
        looking("creating", trouble, trouble, "available"), ("available",), what="It"
    )
    assert found["status"] == "available"


def test_a_trouble_that_stays() -> None:
    with pytest.raises(CloudError, match="503"):
        QUICK.until(looking("creating", CloudError("503")), ("available",), what="It")


def test_one_that_is_gone_is_not_ready() -> None:
    with pytest.raises(ResourceNotFoundError):
        QUICK.until(looking("creating", ResourceNotFoundError("404")), ("available",), what="It")


def test_until_it_is_gone() -> None:
    QUICK.until_gone(looking("deleting", "deleting", ResourceNotFoundError("404")), what="It")


def test_one_that_cannot_be_deleted() -> None:
    with pytest.raises(WaitError, match="It could not be deleted by Cinder: busy"):
        QUICK.until_gone(looking("deleting", "error_deleting"), what="It", reason=lambda _: "busy")


def test_one_that_never_goes() -> None:
    with pytest.raises(WaitError, match="not gone, still 'deleting'"):
        QUICK.until_gone(looking("deleting"), what="It")


@pytest.mark.parametrize("state", ["available", "in-use", "error"])
def test_one_that_cinder_does_not_delete_after_all(state: str) -> None:
    started = time.monotonic()
    with pytest.raises(
        WaitError, match=f"It was not deleted by Cinder, and is '{state}' again: busy"
    ):
        QUICK.until_gone(looking("deleting", state), what="It", reason=lambda _: "busy")
    assert time.monotonic() - started < 0.1


def test_one_that_was_never_seen_to_be_deleted() -> None:
    started = time.monotonic()
    with pytest.raises(WaitError, match="is 'available' again"):
        QUICK.until_gone(looking("available"), what="It")
    assert time.monotonic() - started < 0.1


def test_a_database_that_lags_behind_while_it_is_deleted() -> None:
    gone = ResourceNotFoundError("404")
    QUICK.until_gone(
        looking("available", "available", "deleting", "available", "deleting", gone), what="It"
    )


def test_a_404_alone_is_no_proof_that_it_is_gone() -> None:
    gone = ResourceNotFoundError("404")
    with pytest.raises(WaitError, match="could not be deleted"):
        QUICK.until_gone(looking("deleting", gone, "deleting", "error_deleting"), what="It")


def test_one_that_exists() -> None:
    gone = ResourceNotFoundError("404")
    assert existing(looking(gone, "available")) == {"status": "available", "id": "x"}
    assert existing(looking(gone)) is None
