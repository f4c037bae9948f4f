"""The log shows the messages of failures, however TaskFlow wraps them."""

from __future__ import annotations

from taskflow.exceptions import WrappedFailure
from taskflow.types.failure import Failure

from volflow.errors import StoppedError, VolflowError
from volflow.runs.failures import message, told


def _failure(error: Exception, *, stored: bool = False) -> Failure:
    try:
        raise error
    except Exception:  # noqa: BLE001
        found = Failure()
    return Failure.from_dict(found.to_dict()) if stored else found


def test_wrapped_failures_are_told_flat() -> None:
    stopped = _failure(StoppedError("restic backup was stopped."), stored=True)
    other = _failure(VolflowError("no"))
    inner = _failure(WrappedFailure([other, stopped]))
    assert told(WrappedFailure([stopped])) == "restic backup was stopped."
    assert told(WrappedFailure([stopped, inner])) == "restic backup was stopped.; no"
    assert message(inner) == "no; restic backup was stopped."


def test_an_error_without_a_message_is_told_by_its_name() -> None:
    assert told(StoppedError()) == "StoppedError"
    assert message(_failure(StoppedError())) == "StoppedError"
    assert message(_failure(StoppedError(), stored=True)) == "StoppedError"
