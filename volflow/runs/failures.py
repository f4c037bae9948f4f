"""The messages of the failures that TaskFlow keeps."""

from __future__ import annotations

from taskflow.exceptions import WrappedFailure
from taskflow.types.failure import Failure


def told(error: Exception) -> str:
    """The message of an error with which a flow has ended: of several, all that differ.

    TaskFlow wraps several failures, and one that another process has stored.
    """
    if isinstance(error, WrappedFailure):
        return "; ".join(dict.fromkeys(map(message, error)))
    return str(error) or type(error).__name__


def message(failure: Failure) -> str:
    """The message of a failure, whose exception another process may have raised."""
    if failure.exception is not None:
        return told(failure.exception)
    # The last part of the name of its class, where it has no message.
    return failure.exception_str or str(next(iter(failure), "")).rpartition(".")[2]
