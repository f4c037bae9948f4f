"""One case: the fault, the operator's actions after it, and the leaks and losses."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from tests.fault_matrix import storage
from tests.fault_matrix.bounds import HUNG, exceeded, grown
from tests.fault_matrix.case import (
    COPY,
    FLOWS,
    GROUP,
    IN_PLACE,
    INSTEAD,
    KILLS,
    LOGIN,
    UNDO_FAULTS,
    Case,
)
from tests.fault_matrix.comparison import look
from tests.fault_matrix.keystone import AT_LOGIN, with_keystone
from tests.fault_matrix.testbed import Testbed
from tests.fault_matrix.verdict import Before, Verdict
from tests.support import faults
from tests.support.cinder_proxy import Trouble
from tests.support.fault_kinds import CallSite, Fault
from tests.support.outages import Mood, Outage
from tests.support.step_hooks import Hook
from tests.support.volflow_process import Answer, carry_out

# The step at which a flow fails in the cases about undoing: when it has most to undo. In place,
# this includes restoring the earlier properties and data, which no other flow does.
LATE = dict.fromkeys(FLOWS, "unmount") | {"backup": "copy", IN_PLACE: "keep"}
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
# Flows that need their own volume.
_OWN = {INSTEAD: storage.doomed, GROUP: storage.grouped, LOGIN: with_keystone}


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
    look(testbed, verdict, before, answer)
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
    if case.is_of_calls or case.is_of_storage:
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
    if case.then:
        order = _continued(testbed, verdict)
    else:
        order = _order(testbed, case.flow, hooks=hooks, config=_config(case.fault))
    armed = order.mark if case.undoing else None
    trouble = Trouble(case.where, case.fault, testbed.kill, case.site, armed)
    testbed.proxy.follow(order.place)
    if testbed.login and isinstance(case.fault, Outage):
        trouble.elsewhere = testbed.login.weather
        trouble.repairs.append(testbed.login.weather.end)
        if case.where == AT_LOGIN:
            trouble.count += 1
            trouble.elsewhere.begin(case.fault, order.lookups)
    if case.is_of_calls:
        testbed.proxy.break_down(trouble)
    answer = testbed.carry_out(order, HUNG)
    verdict.wrong += exceeded(order.verb, answer)
    # A fault that did not happen proves nothing.
    if case.is_of_calls and not trouble.count:
        verdict.wrong.append("the call was not made")
    verdict.wrong += trouble.failures
    if case.fault in KILLS and answer.exit != -signal.SIGKILL:
        verdict.wrong.append(f"it was not killed: {answer}")
    if hooks and (not order.mark.exists() or order.mark.read_text() != str(hooks[-1])):
        verdict.wrong.append("the step was not come to")
    return answer


def _continued(testbed: Testbed, verdict: Verdict) -> Any:
    """Kill a run of the flow; return the command that continues it."""
    case = verdict.case
    killed = (Hook(LATE[case.flow], "execute", "before", "kill"),)
    answer = testbed.carry_out(_order(testbed, case.flow, hooks=killed), HUNG)
    if answer.exit != -signal.SIGKILL:
        verdict.wrong.append(f"it was not killed: {answer}")
    (run,) = testbed.state_reader.runs()
    return testbed.order(case.then, run, config=_config(case.fault))


def _recover(testbed: Testbed, verdict: Verdict, answer: Answer) -> Answer:
    """Act as an operator until nothing is open; return the last answer about the run."""
    if answer.exit is None:
        verdict.wrong.append(str(answer.error))
    for _ in range(4):
        open_runs = testbed.state_reader.runs()
        if not open_runs:
            break
        verb = "abort" if verdict.case.is_aborted else "resume"
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


def _remove_target(testbed: Testbed, answer: Answer) -> None:
    for volume in answer.volumes:
        if volume["target_id"] not in (None, testbed.source):
            testbed.cloud.delete(testbed.cloud.adopt(volume["target_id"]))
