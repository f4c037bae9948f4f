"""A cell of the matrix: one fault, at one place, of one flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import faults

COPY = "restore to a copy"
FLOWS = ("backup", "restore to new", "restore in place", COPY)


class Fault(StrEnum):
    """What goes wrong."""

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
    BROKEN = "resource in error"
    STUCK = "resource stays in transition"

    RESTIC_KILLED = "restic killed half-way"
    DISK_FULL = "repository's disk full"
    UNREACHABLE = "repository unreachable half-way"
    UNREADABLE = "a file cannot be read"


TASK_FAULTS = tuple(fault for fault in Fault if fault.name.startswith(("RAISED", "KILLED")))
UNDO_FAULTS = (Fault.UNDOING_BEFORE, Fault.UNDOING_AFTER)
CALL_FAULTS = (
    Fault.ERROR_500,
    Fault.ERRORS_500,
    Fault.ERROR_409,
    Fault.ERROR_404,
    Fault.DROPPED,
)
REVERT = "POST /volumes/{id}/action revert"
# Calls after which Cinder works on, so that the resource can come to a bad end.
SLOW_CALLS = (
    "POST /volumes",
    "POST /snapshots",
    "DELETE /volumes/{id}",
    "DELETE /snapshots/{id}",
    REVERT,
)


@dataclass(frozen=True)
class Cell:
    """One fault.

    :ivar where: the step, the call, or the program at which it happens
    :ivar undoing: it is a call that is made while the flow is undone, after another failure
    """

    flow: str
    where: str
    fault: Fault
    undoing: bool = False

    def __str__(self) -> str:
        where = f"{self.where} (undoing)" if self.undoing else self.where
        return f"{self.flow:<17}  {where:<43}  {self.fault}"


def of_tasks(flow: str) -> list[Cell]:
    """Every step with every fault of a step; of a copy those that no other flow has."""
    kinds = (*TASK_FAULTS, Fault.ABORTED_AFTER, *UNDO_FAULTS)
    known = set(faults.steps("restore to new")) - {"keep"} if flow == COPY else set()
    steps = [step for step in faults.steps(flow) if step not in known]
    return [Cell(flow, step, fault) for step in steps for fault in kinds]


def of_calls(flow: str, calls: Iterable[str], *, undoing: bool) -> list[Cell]:
    """Every call with every fault of a call.

    :param calls: those that the flow was seen to make
    """
    found = []
    for call in calls:
        reads = call.startswith("GET")
        if flow == COPY and (reads or undoing):
            continue  # as in the other restores
        kinds = [*CALL_FAULTS]
        if not reads:
            kinds.append(Fault.SILENT)
        elif undoing:
            kinds = [Fault.ERRORS_500, Fault.ERROR_404]
        if call in SLOW_CALLS:
            kinds += [Fault.BROKEN, Fault.STUCK]
        found += [Cell(flow, call, fault, undoing) for fault in kinds]
    return found


def of_restic(flow: str) -> list[Cell]:
    """The faults of the program that copies, and of the repository."""
    kinds = [Fault.RESTIC_KILLED, Fault.UNREACHABLE]
    if flow == "backup":
        kinds += [Fault.DISK_FULL, Fault.UNREADABLE]
    return [Cell(flow, "restic", fault) for fault in kinds]


def few() -> list[Cell]:
    """The shortened matrix: each step with one fault, each fault with one call of each flow."""
    found: list[Cell] = []
    known: set[str] = set()
    for flow in FLOWS:
        kinds = (*TASK_FAULTS, Fault.ABORTED_AFTER, *UNDO_FAULTS)
        for step in faults.steps(flow):
            if step not in known:
                # Each flow's own steps, and what the flows have in common in turn.
                found.append(Cell(flow, step, kinds[len(found) % len(kinds)]))
                known.add(step)
    found += [
        Cell("restore in place", "copy", Fault.KILLED_AFTER),
        Cell("restore in place", "safety snapshot", Fault.UNDOING_BEFORE),
        Cell("restore to new", "new volume", Fault.KILLED_AFTER),
    ]
    found += [
        Cell("backup", "POST /snapshots", Fault.DROPPED),
        Cell("backup", "POST /snapshots", Fault.BROKEN),
        Cell("backup", "POST /volumes", Fault.STUCK),
        Cell("backup", "POST /attachments", Fault.SILENT),
        Cell("backup", "DELETE /volumes/{id}", Fault.BROKEN),
        Cell("backup", "DELETE /attachments/{id}", Fault.ERROR_409),
        Cell("restore to new", "POST /volumes", Fault.DROPPED),
        Cell("restore to new", "GET /volumes/{id}", Fault.ERROR_404, undoing=True),
        Cell(
            "restore in place", "POST /volumes/{id}/action revert", Fault.ERRORS_500, undoing=True
        ),
        Cell("restore in place", "DELETE /snapshots/{id}", Fault.ERROR_500),
        Cell("backup", "restic", Fault.RESTIC_KILLED),
        Cell("backup", "restic", Fault.DISK_FULL),
        Cell("backup", "restic", Fault.UNREADABLE),
    ]
    return found
