"""Compares everything with what it was before a case."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tests.fault_matrix.case import COPY, GROUP, IN_PLACE, INSTEAD, KILLS, LOGIN, OVER, RESUMED
from tests.fault_matrix.image import ADDED
from tests.fault_matrix.testbed import Testbed
from tests.fault_matrix.verdict import Before, Verdict
from tests.support import tree
from tests.support.fault_kinds import Fault
from tests.support.volflow_process import Answer

# Flows that write into the volume itself.
_INTO = (IN_PLACE, OVER)
_BACKUPS = ("backup", GROUP, LOGIN)


def look(testbed: Testbed, verdict: Verdict, before: Before, answer: Answer) -> None:
    """Compare everything with its state before the case."""
    flow, outcome = verdict.case.flow, verdict.outcome
    resumed = verdict.case.fault in RESUMED and not verdict.case.undoing
    if resumed and outcome != "complete":
        verdict.wrong.append(f"a resumed run is {outcome}: {answer.error or answer.volumes}")
    if verdict.case.must_wait:
        undone = verdict.case.undoing or verdict.case.then == "abort"
        wanted = "failed" if undone else "complete"
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
    # An outage can begin after the request was carried out.
    unknown = any("not known whether" in str(volume["not_removed"]) for volume in answer.volumes)
    if gone != removed and not (gone and unknown):
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
    if not verdict.case.is_of_calls or verdict.case.fault in KILLS:
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
