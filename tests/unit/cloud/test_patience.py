"""What fails because a service has trouble is repeated for a limited time."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from volflow.cloud.patience import Patience, impatient, is_undoing, undoing
from volflow.errors import CloudError, StoppedError, UnavailableError


class Failing:
    """Fails so many times.

    :ivar count: how often it was called
    """

    def __init__(self, times: int, error: Exception | None = None) -> None:
        self._times, self._error = times, error or UnavailableError("It is away")
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        if self.count <= self._times:
            raise self._error
        return "made"


def test_a_call_is_repeated_until_it_succeeds() -> None:
    call = Failing(5)
    assert Patience(60, pause=0.001).repeat(call) == "made"
    assert call.count == 6


def test_the_repeats_end_after_the_time_allowed() -> None:
    began = time.monotonic()
    with pytest.raises(
        UnavailableError,
        match=r"It is away\. volflow has repeated this for 0 s; \[cloud\]",
    ):
        Patience(0.1, pause=0.001).repeat(Failing(10**6))
    assert time.monotonic() - began >= 0.1


def test_without_patience_nothing_is_repeated() -> None:
    call = Failing(1)
    with pytest.raises(UnavailableError, match=r"^It is away$"):
        Patience(0).repeat(call)
    with impatient(), pytest.raises(UnavailableError, match=r"^It is away$"):
        Patience(60).repeat(Failing(1))
    assert call.count == 1


def test_other_errors_are_not_repeated() -> None:
    call = Failing(1, CloudError("No"))
    with pytest.raises(CloudError, match="No"):
        Patience(60).repeat(call)
    assert call.count == 1


def test_what_a_lost_answer_made_is_found() -> None:
    call = Failing(1)
    assert Patience(60, pause=0.001).repeat(call, found=lambda: "found") == "found"
    assert call.count == 1
    assert Patience(60, pause=0.001).repeat(Failing(1), found=lambda: None) == "made"


def test_a_repeat_within_a_repeat_shares_its_time() -> None:
    patience = Patience(0.3, pause=0.001)
    look = Failing(10**6)
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        patience.repeat(Failing(10**6), found=lambda: patience.repeat(look))
    assert look.count > 1
    assert str(caught.value).count("has repeated") == 1
    assert time.monotonic() - began < 30
    # Its time is over, that of the next call is not.
    assert patience.repeat(Failing(2)) == "made"


def test_a_stop_ends_the_repeats() -> None:
    stopping = threading.Event()
    threading.Timer(0.05, stopping.set).start()
    with pytest.raises(StoppedError, match="Stopped while waiting for the cloud: It is away"):
        Patience(3600).repeat(Failing(10**6), stopping=stopping)


def test_threads_with_the_same_trouble_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    patience = Patience(60, pause=0.2)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: patience.repeat(Failing(1)), range(8)))
    assert len(caplog.messages) == 1
    assert caplog.messages[0] == "It is away. volflow repeats this for up to 60 s."


def test_only_the_block_undoes_something() -> None:
    assert not is_undoing()
    with undoing():
        assert is_undoing()
    assert not is_undoing()


def test_calls_in_one_outage_share_its_time() -> None:
    """The removal of ten resources must not take ten times as long."""
    patience = Patience(20.0, pause=0.001)
    patience._outage = (time.monotonic() - 19.5, time.monotonic())
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        patience.repeat(Failing(10**6))
    assert time.monotonic() - began < 20.0
    # A success ends the outage.
    assert patience.repeat(Failing(0)) == "made"
    assert patience._outage is None
