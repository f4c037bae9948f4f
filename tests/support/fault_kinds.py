"""The faults of the fault matrix, and the places that make a call to Cinder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """A fault, as the matrix prints it."""

    RAISED_BEFORE = "exception before its effect"
    RAISED_AFTER = "exception after its effect"
    KILLED_BEFORE = "SIGKILL before its effect"
    KILLED_AFTER = "SIGKILL after its effect"
    ABORTED_AFTER = "SIGKILL after its effect, abort"
    UNDOING_BEFORE = "SIGKILL before it is undone"
    UNDOING_AFTER = "SIGKILL after it is undone"

    ERROR_500 = "HTTP 500 once"
    ERRORS_500 = "HTTP 500 for good"
    ERROR_409 = "HTTP 409"
    ERROR_404 = "HTTP 404"
    DROPPED = "time-out, effect done"
    SILENT = "no answer, effect done"
    DIED = "SIGKILL, effect done"
    DIED_ABORTED = "SIGKILL, effect done, abort"
    BROKEN = "resource in error"
    STUCK = "resource stays in transition"

    RUN_KILLED = "SIGKILL half-way"
    RUN_ABORTED = "SIGKILL half-way, abort"
    RESTIC_KILLED = "restic killed half-way"
    DISK_FULL = "repository's disk full"
    UNREACHABLE = "repository unreachable half-way"
    UNREADABLE = "a file cannot be read"


@dataclass(frozen=True)
class CallSite:
    """The place in a flow that makes a call.

    :ivar call: the call, by its pattern
    :ivar step: the step that makes it; empty between the steps
    :ivar later: the step has already asked Cinder for a change, and waits or reads the result
    """

    call: str
    step: str = ""
    later: bool = False
