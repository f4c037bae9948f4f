"""One case: the fault, the operator's actions after it, and the leaks and losses."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fault_matrix import storage
from tests.fault_matrix.bounds import HUNG, exceeded, grown
from tests.fault_matrix.case import (
    ABORTED,
    CALL_FAULTS,
    COPY,
    FLOWS,
    GROUP,
    IN_PLACE,
    INSTEAD,
    LOGIN,
    OVER,
    UNDO_FAULTS,
    Case,
)
from tests.fault_matrix.image import ADDED
from tests.fault_matrix.keystone import AT_LOGIN, with_keystone
from tests.fault_matrix.testbed import Testbed
from tests.support import faults, tree
from tests.support.cinder_proxy import Trouble
from tests.support.fault_kinds import CallSite, Fault
from tests.support.outages import Mood, Outage
from tests.support.step_hooks import Hook
from tests.support.volflow_process import Answer, carry_out

# The step at which a flow fails in the cases about undoing: when it has most to undo. In place,
# this includes restoring the earlier properties and data, which no other flow does.
LATE = dict.fromkeys(FLOWS, "unmount") | {"backup": "copy", IN_PLACE: "keep"}
_FAULTS_OF_CALLS = (
    *CALL_FAULTS,
    Fault.SILENT,
    Fault.DIED,
    Fault.DIED_ABORTED,
    Fault.BROKEN,
    Fault.STUCK,
)
# Short limits in seconds, for faults that last.
_IMPATIENT: dict[Fault, dict[str, Any]] = {
    Fault.STUCK: {"wait__limit": 4},
    Fault.SILENT: {"cloud__timeout": 5},
    Fault.UNREACHABLE: {"repository__stall_limit": 20},
}
# An outage that lasts is longer than this patience, one that passes is shorter.
_LASTING = {"cloud__patience": 2}
_PASSING = {"cloud__patience": 60}
_OF_RESTIC = {"repository__look_limit": 5, "repository__stall_limit": 5}
# Faults after which a resumed run must complete the whole request.
_RESUMED = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.DIED, Fault.RUN_KILLED)
_KILLS = (Fault.DIED, Fault.DIED_ABORTED, Fault.RUN_KILLED, Fault.RUN_ABORTED)
# Flows that write into the volume itself.
_INTO = (IN_PLACE, OVER)
_BACKUPS = ("backup", GROUP, LOGIN)
# Flows that need their own volume.
_OWN = {INSTEAD: storage.doomed, GROUP: storage.grouped, LOGIN: with_keystone}


@dataclass
class Verdict:
    """The result of a case.

    :ivar outcome: the final outcome of the run; ``refused`` if it did not begin
    :ivar needed: what the operator had to do
    :ivar leaks: temporary resources that remain
    :ivar losses: data or properties that are lost or changed
    :ivar wrong: everything else that must not happen
    """

    case: Case
    outcome: str = ""
    needed: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    log: str = ""

    @property
    def good(self) -> bool:
        return not (self.leaks or self.losses or self.wrong)

    @property
    def operator(self) -> str:
        """What the operator had to do, in words."""
        verbs = [f"run {n}" if n != "clean" else "leftover clean" for n in self.needed]
        return ", ".join(verbs) or "-"

    def __str__(self) -> str:
        return (
            f"{begin(self.case, good=self.good)}{self.outcome:<8}  {self.operator:<25}"
            f"  {self.seconds:5.1f} s"
        )

    def troubles(self) -> list[str]:
        return [
            f"     {kind}: {line}"
            for kind in ("leaks", "losses", "wrong")
            for line in getattr(self, kind)
        ]


def begin(case: Case, *, good: bool) -> str:
    """The beginning of a case's line."""
    return f"{'ok' if good else 'BAD':<3}  {case!s:<124}  "


@dataclass(frozen=True)
class Before:
    """The state of everything before a case."""

    image: str
    shown: dict[str, Any]
    stored: list[str]


def calls(testbed: Testbed, flow: str, *, undoing: bool) -> list[CallSite]:
    """The calls that a flow makes to Cinder, and the places that make them.

    :param undoing: the calls that it makes while it is being undone
    """
    hooks = (Hook(LATE[flow], "execute", "before", "raise"),) if undoing else ()
    order = _order(testbed, flow, hooks=hooks)
    with _in_use(testbed, flow):
        seen = testbed.proxy.record(order.mark if undoing else None)
        testbed.proxy.follow(order.place)
        answer = carry_out(order)
        testbed.proxy.repair()
        _remove_target(testbed, answer)
    if answer.result != ("failed" if undoing else "complete"):
        raise RuntimeError(f"{flow}: {answer}\n{order.log.read_text()}")
    return list(seen)


def tried(testbed: Testbed, case: Case) -> Verdict:
    """Run a case."""
    began, verdict = time.monotonic(), Verdict(case)
    if case.is_of_storage:
        with storage.faulty(testbed, case) as (here, repair), _in_use(here, case.flow) as devices:
            _try(here, verdict, repair, devices)
    elif case.flow in _OWN:
        with _OWN[case.flow](testbed) as here, _in_use(here, case.flow) as devices:
            _try(here, verdict, here.proxy.repair, devices)
    else:
        with _in_use(testbed, case.flow) as devices:
            _try(testbed, verdict, testbed.proxy.repair, devices)
    verdict.seconds = time.monotonic() - began
    orders = sorted(testbed.orders.iterdir())
    if not verdict.good:
        files = [order / "log" for order in orders if (order / "log").exists()]
        verdict.log = "\n".join(file.read_text() for file in files)
    for order in orders:
        shutil.rmtree(order)
    return verdict


def _try(
    testbed: Testbed, verdict: Verdict, repair: Callable[[], None], devices: Collection[str]
) -> None:
    before = Before(testbed.image(), testbed.shown(), testbed.stored())
    size = testbed.state_reader.size()
    processes = testbed.auditor.processes()
    answer = _attempt(testbed, verdict)
    repair()
    answer = _recover(testbed, verdict, answer)
    verdict.wrong += grown(testbed.state_reader, size)
    verdict.outcome = str(answer.result or "refused")
    _look(testbed, verdict, before, answer)
    verdict.leaks += [f"restic's lock {lock} is left" for lock in testbed.locks()]
    findings = testbed.auditor.settled(
        testbed.cloud.known, processes=processes, devices=devices, seconds=4
    )
    verdict.leaks += [str(finding) for finding in findings]


@contextmanager
def _in_use(testbed: Testbed, flow: str) -> Iterator[list[str]]:
    """Prepare the source for a flow; yields its devices. An attached volume is copied."""
    testbed.change()
    if flow != COPY:
        yield []
        return
    with testbed.cloud.attached(testbed.source, host="a-server") as device:
        yield [device]


def _order(testbed: Testbed, flow: str, **more: Any) -> Any:
    if flow in ("backup", LOGIN):
        return testbed.order("backup", testbed.source, **more)
    if flow == GROUP:
        return testbed.order("backup", options={"groups": (testbed.group,)}, **more)
    return testbed.order("restore", testbed.baseline, options=faults.OPTIONS[flow], **more)


def _hooks(case: Case) -> tuple[Hook, ...]:
    """The hooks around the steps."""
    if case.undoing:
        return (Hook(LATE[case.flow], "execute", "before", "raise"),)
    if _is_of_calls(case.fault) or case.is_of_storage:
        return ()
    when = "before" if case.fault.name.endswith("BEFORE") else "after"
    if case.fault not in UNDO_FAULTS:
        act = "raise" if case.fault.name.startswith("RAISED") else "kill"
        return (Hook(case.where, "execute", when, act),)
    steps = faults.steps(case.flow)
    later = steps[steps.index(case.where) + 1 :]
    failing = (
        Hook(later[0], "execute", "before", "raise")
        if later
        else Hook(case.where, "execute", "after", "raise")
    )
    return (failing, Hook(case.where, "revert", when, "kill"))


def _is_of_calls(fault: Fault | Outage) -> bool:
    return isinstance(fault, Outage) or fault in _FAULTS_OF_CALLS


def _config(fault: Fault | Outage) -> dict[str, Any]:
    """Short limits for faults that last."""
    if isinstance(fault, Fault):
        return _IMPATIENT.get(fault, {})
    silent = {"cloud__timeout": 1} if fault.mood is Mood.SILENT else {}
    return (_LASTING if fault.lasting else _PASSING) | silent | _OF_RESTIC


def _attempt(testbed: Testbed, verdict: Verdict) -> Answer:
    """Run the flow once, with the fault."""
    case = verdict.case
    hooks = _hooks(case)
    order = _order(testbed, case.flow, hooks=hooks, config=_config(case.fault))
    armed = order.mark if case.undoing else None
    trouble = Trouble(case.where, case.fault, testbed.kill, case.site, armed)
    testbed.proxy.follow(order.place)
    if testbed.login and isinstance(case.fault, Outage):
        trouble.elsewhere = testbed.login.weather
        if case.where == AT_LOGIN:
            trouble.count += 1
            trouble.elsewhere.begin(case.fault, order.lookups)
    if _is_of_calls(case.fault) and not case.is_of_storage:
        testbed.proxy.break_down(trouble)
    answer = testbed.carry_out(order, HUNG)
    verdict.wrong += exceeded(order.verb, answer)
    # A fault that did not happen proves nothing.
    if _is_of_calls(case.fault) and not case.is_of_storage and not trouble.count:
        verdict.wrong.append("the call was not made")
    verdict.wrong += trouble.failures
    if case.fault in _KILLS and answer.exit != -signal.SIGKILL:
        verdict.wrong.append(f"it was not killed: {answer}")
    if hooks and (not order.mark.exists() or order.mark.read_text() != str(hooks[-1])):
        verdict.wrong.append("the step was not come to")
    return answer


def _recover(testbed: Testbed, verdict: Verdict, answer: Answer) -> Answer:
    """Act as an operator until nothing is open; return the last answer about the run."""
    if answer.exit is None:
        verdict.wrong.append(str(answer.error))
    for _ in range(4):
        open_runs = testbed.state_reader.runs()
        if not open_runs:
            break
        verb = "abort" if verdict.case.fault in ABORTED else "resume"
        verdict.needed.append(verb)
        answer = carry_out(testbed.order(verb, open_runs[0]))
        verdict.wrong += exceeded(verb, answer)
        if answer.exit != 0 or answer.error:
            verdict.wrong.append(f"{verb}: exit {answer.exit}, {answer.error}")
    named = " ".join(line for volume in answer.volumes for line in volume["leftovers"])
    for tag, state, reason in testbed.state_reader.ledger():
        if tag.endswith("/overwrite"):
            continue  # the safety snapshot, to which the volume must return, is reported instead
        if state != "LEFTOVER" or str(reason) not in named:
            verdict.wrong.append(f"{tag} is {state} and not named in the result")
    for _ in range(2):
        if not testbed.state_reader.ledger() and not testbed.locks():
            break
        verdict.needed.append("clean")
        cleaned = carry_out(testbed.order("clean"))
        verdict.wrong += exceeded("clean", cleaned)
        if cleaned.error or any(why for _, why in cleaned.result or []):
            verdict.wrong.append(f"leftover clean: {cleaned}")
    return answer


def _look(testbed: Testbed, verdict: Verdict, before: Before, answer: Answer) -> None:
    """Compare everything with its state before the case."""
    flow, outcome = verdict.case.flow, verdict.outcome
    resumed = verdict.case.fault in _RESUMED and not verdict.case.undoing
    if resumed and outcome != "complete":
        verdict.wrong.append(f"a resumed run is {outcome}: {answer.error or answer.volumes}")
    if verdict.case.must_wait:
        wanted = "failed" if verdict.case.undoing else "complete"
        if outcome != wanted or verdict.needed:
            told = [volume["error"] or volume["leftovers"] for volume in answer.volumes]
            verdict.wrong.append(f"volflow has not waited: {answer.error or told}")
    if verdict.case.fault is Fault.UNREADABLE and outcome != "partial":
        verdict.wrong.append(f"an unreadable file is not reported: {answer.volumes}")
    if outcome == "failed" and not all(volume["error"] for volume in answer.volumes):
        verdict.wrong.append(f"failed without a reason: {answer.volumes}")
    if flow in ("restore to new", COPY, INSTEAD) and outcome == "complete":
        verdict.losses += _compare_target(testbed, verdict, answer)
    _look_at_source(testbed, verdict, before, answer)
    _look_at_backups(testbed, verdict, before, answer)


def _look_at_source(testbed: Testbed, verdict: Verdict, before: Before, answer: Answer) -> None:
    flow, outcome = verdict.case.flow, verdict.outcome
    gone, removed = testbed.is_gone(), any(volume["removed"] for volume in answer.volumes)
    if gone != removed:
        verdict.losses.append(
            f"the volume is {'gone' if gone else 'there'}, but the result is {answer.volumes}"
        )
    if flow == INSTEAD and not removed and not all(v["not_removed"] for v in answer.volumes):
        verdict.wrong.append(f"the old volume is there without a reason: {answer.volumes}")
    if gone:
        return
    restored = flow in _INTO and outcome == "complete"
    wanted = testbed.properties if restored else before.shown
    told = _told(verdict, answer) if restored else ()
    verdict.losses += [f"the volume's {line}" for line in _unlike(wanted, testbed.shown(), told)]
    if restored:
        content = dict(testbed.content)
        if flow == OVER:
            # It is not in the backup, so it stays.
            content[ADDED.encode()] = testbed.present[ADDED.encode()]
        found = tree.differences(content, testbed.tree_of_volume(testbed.source))
        verdict.losses += [f"restored volume: {line}" for line in found]
    elif testbed.image() != before.image:
        verdict.losses.append("the volume's bytes are not those of before")


def _told(verdict: Verdict, answer: Answer) -> set[str]:
    """The properties that Cinder refused to restore, according to the run."""
    if not _is_of_calls(verdict.case.fault) or verdict.case.fault in _KILLS:
        return set()
    return {each["name"] for volume in answer.volumes for each in volume["differences"]}


def _unlike(was: dict[str, Any], now: dict[str, Any], told: Collection[str] = ()) -> list[str]:
    return [
        f"{key} was {was.get(key)!r} and is {now.get(key)!r}"
        for key in sorted((was.keys() | now.keys()) - set(told))
        if was.get(key) != now.get(key)
    ]


def _look_at_backups(testbed: Testbed, verdict: Verdict, before: Before, answer: Answer) -> None:
    stored = testbed.stored()
    verdict.losses += [f"backup {one[:8]} is gone" for one in before.stored if one not in stored]
    fresh = [one for one in stored if one not in before.stored]
    if verdict.case.flow in _BACKUPS and verdict.outcome in ("complete", "partial"):
        told = str(answer.volumes[0]["backup_id"])
        if not any(one.startswith(told) for one in fresh):
            verdict.losses.append(f"backup {told[:8]} is said to be there and is not")
    if verdict.case.flow not in _BACKUPS and fresh:
        verdict.wrong.append("a restore made a backup")
    for one in fresh:
        found = tree.differences(testbed.present, testbed.tree_of_backup(one))
        if verdict.outcome == "complete":
            found += _unlike(testbed.manifest_without_a_fault(), testbed.manifest(one))
        verdict.losses += [f"new backup {one[:8]}: {line}" for line in found]
    try:
        whole = testbed.whole()
        verdict.losses += [f"backup {one[:8]} is not whole" for one in stored if one not in whole]
        testbed.restic("check", "--read-data")
    except AssertionError as error:
        verdict.losses.append(str(error))


def _compare_target(testbed: Testbed, verdict: Verdict, answer: Answer) -> list[str]:
    """Check a volume that was made, and remove it."""
    target = str(answer.volumes[0]["target_id"])
    testbed.cloud.adopt(target)
    keys = ("name", "description", "size", "volume_type", "availability_zone", "metadata", "status")
    was, now = (
        {key: shown[key] for key in keys}
        for shown in (testbed.properties, testbed.cloud.show(target))
    )
    found = [f"new volume: {line}" for line in _unlike(was, now, _told(verdict, answer))]
    found += tree.differences(testbed.content, testbed.tree_of_volume(target))
    testbed.cloud.delete(target)
    return found


def _remove_target(testbed: Testbed, answer: Answer) -> None:
    for volume in answer.volumes:
        if volume["target_id"] not in (None, testbed.source):
            testbed.cloud.delete(testbed.cloud.adopt(volume["target_id"]))
