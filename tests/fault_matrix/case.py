"""A case of the matrix: one fault, at one place, of one flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.support import faults
from tests.support.fault_kinds import CallSite, Fault
from tests.support.outages import Outage

IN_PLACE = "restore in place"
COPY = "restore to a copy"
OVER = "restore over"
FLOWS = ("backup", "restore to new", IN_PLACE, COPY, OVER)
# The flows with calls that no other flow makes.
CALLING = FLOWS[:-1]
# A restore to a new volume that removes the old one at the end.
INSTEAD = "restore instead"
# A volume selected by its group, with the snapshot that a group's volumes share.
GROUP = "backup of a group"
# A backup in a cloud with Keystone, which has the outage.
LOGIN = "backup, Keystone"
# Where the program that copies fails, and its server.
RESTIC, REPOSITORY = "restic", "repository"
# For flows that resemble another flow: that flow, and the steps that differ.
_LIKE = {COPY: ("restore to new", ("keep",)), OVER: (IN_PLACE, ("copy",))}


TASK_FAULTS = tuple(fault for fault in Fault if fault.name.startswith(("RAISED", "KILLED")))
ABORTED = (Fault.ABORTED_AFTER, Fault.DIED_ABORTED, Fault.RUN_ABORTED)
UNDO_FAULTS = (Fault.UNDOING_BEFORE, Fault.UNDOING_AFTER)
CALL_FAULTS = (
    Fault.ERROR_500,
    Fault.ERRORS_500,
    Fault.ERROR_409,
    Fault.ERROR_404,
    Fault.DROPPED,
)
REVERT = "POST /volumes/{id}/action revert"
# Calls that Cinder answers before it has done the work, so that the work can still fail.
SLOW_CALLS = (
    "POST /volumes",
    "POST /snapshots",
    "DELETE /volumes/{id}",
    "DELETE /snapshots/{id}",
    REVERT,
)
FAULTS_OF_CALLS = (
    *CALL_FAULTS,
    Fault.SILENT,
    Fault.DIED,
    Fault.DIED_ABORTED,
    Fault.BROKEN,
    Fault.STUCK,
)
KILLS = (Fault.DIED, Fault.DIED_ABORTED, Fault.RUN_KILLED, Fault.RUN_ABORTED)
# Faults after which a resumed run must complete the whole request.
RESUMED = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.DIED, Fault.RUN_KILLED)
# The faults for a call that another place also makes.
_MORE_READS = (Fault.ERROR_404, Fault.ERRORS_500)
_MORE_WRITES = (Fault.DIED, Fault.DROPPED, Fault.ERRORS_500)


@dataclass(frozen=True)
class Case:
    """One fault.

    :ivar where: the step, the call, or the program where it happens
    :ivar undoing: the flow makes the call while it is being undone after another failure
    :ivar site: the place that makes the failing call; the first one unless given
    :ivar then: the run is killed first; the fault strikes when this verb continues it
    """

    flow: str
    where: str
    fault: Fault | Outage
    undoing: bool = False
    site: CallSite | None = None
    then: str = ""

    @property
    def is_of_calls(self) -> bool:
        """Whether calls to Cinder or Keystone fail."""
        of_calls = isinstance(self.fault, Outage) or self.fault in FAULTS_OF_CALLS
        return of_calls and not self.is_of_storage

    @property
    def is_aborted(self) -> bool:
        """Whether the operator aborts the run; else the operator resumes it."""
        return self.fault in ABORTED or self.then == "abort"

    @property
    def is_of_storage(self) -> bool:
        """Whether restic or its repository fails."""
        return self.where.startswith((RESTIC, REPOSITORY))

    @property
    def must_wait(self) -> bool:
        """Whether volflow must wait until the fault has passed, as if it had not been."""
        passing = isinstance(self.fault, Outage) and not self.fault.lasting
        # restic itself decides what it repeats.
        return passing and not self.is_of_storage

    def __str__(self) -> str:
        where = self.where
        if self.site:
            where += f", {'later in' if self.site.later else 'in'} {self.site.step or 'between'}"
        if self.undoing:
            where += " (undoing)"
        if self.then:
            where += f" (run {self.then})"
        return f"{self.flow:<17}  {where:<68}  {self.fault}"


def of_tasks(flow: str) -> list[Case]:
    """Every step with every fault of a step. A flow like another one adds only its own steps."""
    kinds = (*TASK_FAULTS, Fault.ABORTED_AFTER, *UNDO_FAULTS)
    return [Case(flow, step, fault) for step in own_steps(flow) for fault in kinds]


def own_steps(flow: str) -> list[str]:
    """The steps that no other flow has in the same way."""
    like, own = _LIKE.get(flow, ("", ()))
    known = set(faults.steps(like)) - set(own) if like else set()
    return [step for step in faults.steps(flow) if step not in known]


def of_calls(flow: str, sites: Iterable[CallSite], *, undoing: bool) -> list[Case]:
    """Every call with every fault of a call, and with some faults at the other places that make it.

    :param sites: the places that were seen to make calls in the flow, in order
    """
    found: list[Case] = []
    known: set[str] = set()
    for site in sites:
        reads = site.call.startswith("GET")
        if flow == COPY and (reads or undoing):
            continue  # as in the other restores
        if site.call not in known:
            known.add(site.call)
            kinds = _kinds(site.call, undoing=undoing)
            found += [Case(flow, site.call, fault, undoing) for fault in kinds]
        elif flow != COPY or site.step in own_steps(COPY):
            kinds = _MORE_READS if reads else _MORE_WRITES
            found += [Case(flow, site.call, fault, undoing, site) for fault in kinds]
    return found


def _kinds(call: str, *, undoing: bool) -> tuple[Fault, ...]:
    if call.startswith("GET"):
        return (Fault.ERRORS_500, Fault.ERROR_404) if undoing else CALL_FAULTS
    kinds = (*CALL_FAULTS, Fault.SILENT, Fault.DIED)
    if not undoing:
        kinds += (Fault.DIED_ABORTED,)
    if call in SLOW_CALLS:
        kinds += (Fault.BROKEN, Fault.STUCK)
    return kinds


def of_restic(flow: str) -> list[Case]:
    """The faults of the program that copies, and of the repository."""
    kinds = [Fault.RESTIC_KILLED, Fault.UNREACHABLE, Fault.RUN_KILLED, Fault.RUN_ABORTED]
    if flow == "backup":
        kinds += [Fault.DISK_FULL, Fault.UNREADABLE]
    return [Case(flow, RESTIC, fault) for fault in kinds]


def of_removal() -> list[Case]:
    """The faults of removing the volume that a restored volume replaces."""
    kinds = (*CALL_FAULTS, Fault.SILENT, Fault.DIED, Fault.DIED_ABORTED)
    return [Case(INSTEAD, "DELETE /volumes/{id}", fault) for fault in kinds]


def of_groups() -> list[Case]:
    """The faults of the resources that a group's volumes share, and of its own steps."""
    steps = ("group snapshot", "snapshot", "let others")
    kinds = (*TASK_FAULTS, Fault.ABORTED_AFTER)
    asked = (Fault.ERRORS_500, Fault.DROPPED, Fault.DIED, Fault.DIED_ABORTED)
    calls = ("POST /group_snapshots", "DELETE /group_snapshots/{id}")
    return [
        *(Case(GROUP, step, fault) for step in steps for fault in kinds),
        *(Case(GROUP, call, fault) for call in calls for fault in asked),
    ]


def few() -> list[Case]:
    """The short matrix: each step with one fault, each fault with one call of each flow."""
    found: list[Case] = []
    known: set[str] = set()
    for flow in FLOWS:
        kinds = (*TASK_FAULTS, Fault.ABORTED_AFTER, *UNDO_FAULTS)
        for step in faults.steps(flow):
            if step not in known:
                # Each step once, with the kinds of faults in turn.
                found.append(Case(flow, step, kinds[len(found) % len(kinds)]))
                known.add(step)
    found += [
        Case(IN_PLACE, "copy", Fault.KILLED_AFTER),
        Case(IN_PLACE, "safety snapshot", Fault.UNDOING_BEFORE),
        Case("restore to new", "new volume", Fault.KILLED_AFTER),
    ]
    found += [
        Case("backup", "POST /snapshots", Fault.DROPPED),
        Case("backup", "POST /snapshots", Fault.BROKEN),
        Case("backup", "POST /volumes", Fault.DIED),
        Case(IN_PLACE, "POST /snapshots", Fault.DIED_ABORTED),
        Case(IN_PLACE, "restic", Fault.RUN_KILLED),
        Case(OVER, "copy", Fault.KILLED_AFTER),
        Case(INSTEAD, "DELETE /volumes/{id}", Fault.DIED),
        Case(GROUP, "group snapshot", Fault.KILLED_AFTER),
        Case("backup", "POST /volumes", Fault.STUCK),
        Case("backup", "POST /attachments", Fault.SILENT),
        Case("backup", "DELETE /volumes/{id}", Fault.BROKEN),
        Case("backup", "DELETE /attachments/{id}", Fault.ERROR_409),
        Case("restore to new", "POST /volumes", Fault.DROPPED),
        Case("restore to new", "GET /volumes/{id}", Fault.ERROR_404, undoing=True),
        Case(
            "backup",
            "GET /volumes/{id}",
            Fault.ERROR_404,
            site=CallSite("GET /volumes/{id}", "remove temporary volume", later=True),
        ),
        Case(IN_PLACE, "POST /volumes/{id}/action revert", Fault.ERRORS_500, undoing=True),
        Case(IN_PLACE, "DELETE /snapshots/{id}", Fault.ERROR_500),
        Case("backup", "restic", Fault.RESTIC_KILLED),
        Case("backup", "restic", Fault.DISK_FULL),
        Case("backup", "restic", Fault.UNREADABLE),
    ]
    return found
