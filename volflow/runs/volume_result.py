"""The result of one volume, read from its ended flow and from the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from taskflow import states
from taskflow.exceptions import NotFound
from taskflow.storage import Storage
from taskflow.types.failure import Failure

from persistence import Entry, Ledger
from volflow.cloud.marks import tag
from volflow.errors import SourceDeletedError, StoppedError
from volflow.flows.graph import Component
from volflow.movers.base import UNCHECKED
from volflow.results.outcome import Figures, Outcome, VolumeResult
from volflow.results.request import BackupRequest, RequestedTarget, RestoreRequest
from volflow.runs.failures import message
from volflow.runs.work import RunWork
from volflow.tasks.as_left import OVERWRITE
from volflow.tasks.base import Step
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.remarks import remarks
from volflow.tasks.restore import RestoreData
from volflow.tasks.save import Save

#: Why a volume was undone that would not have failed.
ABORTED = "The run was aborted."


def volume_result(
    work: RunWork, component: Component, storage: Storage, volume_id: str
) -> VolumeResult:
    """The result of a volume, without its name, its duration and its steps.

    :param storage: the state of the component's flow, which has ended
    """
    request, ledger = work.request, _RunLedger(work.services.ledger, work.run_id)
    steps = component.steps(volume_id)
    done = all(storage.get_atom_state(step.name) == states.SUCCESS for step in steps)
    saved = ledger.saved(volume_id)
    # A stored backup counts, whatever happened after it.
    counts = done or bool(saved) or ledger.kept(volume_id)
    target_id, backup_id, unread = None, saved.get("id"), tuple(saved.get("unread", ()))
    figures = saved.get("figures", {})
    if isinstance(request, RestoreRequest):
        backup_id = backup_id or request.backups.get(volume_id)
        if counts:
            target = request.targets[volume_id]
            target_id = ledger.target(volume_id, target)
            unread = _missing(steps, target.tags)
            figures = _fetched(storage, steps[0].symbol("restored"), {}) or {}
    outcome = Outcome.FAILED if not counts else Outcome.PARTIAL if unread else Outcome.COMPLETE
    error = None if done else _error(component, storage, volume_id)
    leftovers = ledger.leftovers(component, volume_id)
    found = isinstance(request, BackupRequest) and request.by_filter
    if not counts and not leftovers and found and _is_deleted(storage, steps):
        outcome, error = Outcome.LEFT_OUT, "was deleted before its backup began"
    return VolumeResult(
        volume_id=volume_id,
        name="",
        outcome=outcome,
        backup_id=backup_id,
        parent_id=saved.get("parent_id"),
        target_id=target_id,
        figures=Figures(**figures),
        unread=unread,
        leftovers=leftovers,
        error=error,
        differences=(
            *_fetched(storage, steps[0].symbol("disk"), {}).get("differences", ()),
            *_fetched(storage, steps[0].symbol("differences"), []),
        ),
        remarks=remarks(work.services.ledger, work.run_id, volume_id),
        kept=_fetched(storage, steps[0].symbol("choice"), {}).get("files", 0),
    )


class _RunLedger:
    """The ledger's entries for the volumes of one run."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        self._ledger = ledger
        self._run_id = run_id

    def target(self, volume_id: str, target: RequestedTarget) -> str | None:
        """The restored volume: the one that was overwritten, or the new one in the ledger."""
        if target.overwritten:
            return target.overwritten
        entry = self._ledger.find(tag(self._run_id, volume_id, NewVolume.kind))
        return entry.resource_id if entry else None

    def kept(self, volume_id: str) -> bool:
        """Whether a restore has reached the step after which nothing reverts it."""
        kinds = (NewVolume.kind, OVERWRITE)
        found = [self._ledger.find(tag(self._run_id, volume_id, kind)) for kind in kinds]
        return any(entry is not None and bool(entry.details.get("kept")) for entry in found)

    def saved(self, volume_id: str) -> dict[str, Any]:
        """The ledger's details of a stored backup, also if its flow was undone later."""
        entry = self._ledger.find(tag(self._run_id, volume_id, Save.kind))
        if entry is None or not entry.resource_id or entry.details.get("unchecked"):
            return {}
        return entry.details

    def leftovers(self, component: Component, volume_id: str) -> tuple[str, ...]:
        """One line for each leftover. Those that volumes share are listed for the first volume."""
        first = volume_id == component.volumes[0]
        shared = [step.work.volume_id for step in component.shared] if first else []
        return tuple(
            leftover_line(entry)
            for entry in self._ledger.leftovers(self._run_id, [volume_id, *shared])
        )


def leftover_line(entry: Entry) -> str:
    """What is said of a resource that could not be removed, in the result of its volume."""
    reason = entry.reason or "its removal could not be recorded in the state database"
    return f"{entry.kind} {entry.resource_id or entry.tag}: {reason}"


def _error(component: Component, storage: Storage, volume_id: str) -> str:
    """Why a volume failed: the message of a step that did, or why the volume was undone."""
    failures = storage.get_execute_failures()
    found = [
        failures[step.name]
        for step in (*component.steps(volume_id), *component.shared)
        if step.name in failures
    ]
    # A step that was interrupted did not fail: a flow ends with it only if its run is aborted.
    failed = [failure for failure in found if not failure.check(StoppedError)]
    if failed:
        return message(failed[0])
    if undone := component.undo_only.get(volume_id, ABORTED if found else ""):
        return undone
    return "It was undone before it was complete; see the log."


def _fetched(storage: Storage, symbol: str, otherwise: Any) -> Any:
    """The result of a step, if it has succeeded."""
    try:
        found = storage.fetch(symbol)
    except NotFound:
        return otherwise
    return otherwise if isinstance(found, Failure) else found


def _is_deleted(storage: Storage, steps: Sequence[Step]) -> bool:
    """Whether a step found that the volume had been deleted before its backup began."""
    failures = storage.get_execute_failures()
    return any(
        step.name in failures and failures[step.name].check(SourceDeletedError) for step in steps
    )


def _missing(steps: Sequence[Step], tags: Mapping[str, str]) -> tuple[str, ...]:
    """The files that a restore cannot restore, because the backup does not contain them.

    :param tags: the tags of the backup, used if the manifest, which names the files, is gone
    """
    if tags.get("state") == UNCHECKED:
        return ("nobody knows which files, because the backup is unfinished",)
    names = next((step.unread for step in steps if isinstance(step, RestoreData)), ())
    count = tags.get("unread")
    what = "file or directory" if count == "1" else "files or directories"
    return names or ((f"{count} {what}, which the backup names",) if count else ())
