"""Leftovers: temporary resources that should no longer exist. Finding and removing them.

There are two kinds. The ledger lists what runs of this state database have left. Resources of runs
whose state database is lost, and those that Cinder created after their run had ended, are found by
the tag that volflow puts on everything that it creates in Cinder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from persistence import Ambiguous, Entry, EntryState, NotFound, State
from volflow.cloud import marks, ownership
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import KEPT, TAG_KEY, Mark, tag
from volflow.errors import ChangedError, VolflowError
from volflow.runs import lease
from volflow.runs.work import WorkFactory
from volflow.tasks import as_left
from volflow.tasks.as_left import CHANGED
from volflow.tasks.attachment import Attachment
from volflow.tasks.claim import Claim
from volflow.tasks.copy_back import SafetyVolume
from volflow.tasks.device import Device
from volflow.tasks.group import GroupSnapshot, RestoredGroup
from volflow.tasks.kinds import KINDS
from volflow.tasks.new_volume import NewVolume
from volflow.tasks.remarks import Remark
from volflow.tasks.safety_snapshot import SafetySnapshot
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.temporary_volume import TemporaryVolume
from volflow.tasks.work import Work

# The order in which resources that only Cinder knows are removed: a snapshot after the volume that
# was created from it.
_ORDER = [
    *(TemporaryVolume.kind, SafetyVolume.kind, NewVolume.kind, RestoredGroup.kind),
    *(Snapshot.kind, GroupSnapshot.kind, SafetySnapshot.kind, Claim.kind, KEPT),
]
# What to report of something that somebody else had changed.
_AS_AGREED = "done as agreed: it is removed, was gone, or belongs to somebody else now"

# The kinds of volumes that are deleted, so that they must not be attached.
_ATTACHED = (TemporaryVolume.kind, SafetyVolume.kind, NewVolume.kind)


@dataclass(frozen=True)
class Leftover:
    """A temporary resource that should no longer exist.

    :ivar tag: run, volume and kind
    :ivar resource_id: its id in Cinder or its name on the host; None if it is not known
    :ivar since: time of the last sign of it, in UTC
    :ivar reason: why it still exists
    :ivar lost: only Cinder knows it, not the ledger
    :ivar of_volume: if lost: the volume that it is, or that it is a snapshot of
    :ivar ended: if lost: this state database knows that its run has ended
    :ivar changed: somebody else has changed it, so that a person must decide
    :ivar foreign: if lost: why volflow cannot have made it. Somebody else has written or copied
        its mark; volflow never removes it
    :ivar removed: what to report when it was removed
    """

    tag: str
    resource_id: str | None
    since: datetime
    reason: str
    lost: bool = False
    of_volume: str | None = None
    ended: bool = False
    changed: bool = False
    foreign: str | None = None
    removed: str = "removed"

    @property
    def run_id(self) -> str:
        return self._mark.run_id

    @property
    def volume_id(self) -> str:
        return self._mark.volume_id

    @property
    def kind(self) -> str:
        return self._mark.kind

    @property
    def _mark(self) -> Mark:
        return Mark.recorded(self.tag)

    def matches(self, only: Collection[str]) -> bool:
        """Whether one of these is the beginning of the id of its run, its volume or itself."""
        ids = (self.run_id, self.volume_id, self.resource_id or self.tag)
        return not only or any(one.startswith(each) for each in only for one in ids)


def clean_all(
    state: State,
    works: WorkFactory,
    *,
    lost_in: Cinder | None,
    older_than: timedelta,
    changed: bool = False,
    gone_hosts: Collection[str] = (),
    only: Collection[str] = (),
) -> Iterator[tuple[Leftover, str | None]]:
    """Remove leftovers, one at a time.

    :param lost_in: where to look for leftovers of runs that this database does not know
    :param older_than: how long such a run must have given no sign of life
    :param changed: also what somebody else has changed since: a person has agreed to that
    :param gone_hosts: hosts that a person says were rebooted or do not exist any more
    :param only: beginnings of the ids of the runs, volumes or resources; all unless given
    :returns: each leftover, and why it could not be removed; None if it was removed
    """
    for leftover in known(state):
        if not leftover.matches(only):
            continue
        run = state.runs.get(leftover.run_id)
        try:
            work = works.of_run(run).of(leftover.volume_id)
        except VolflowError as error:
            # This login cannot act in its project. The other leftovers are removed.
            yield leftover, str(error)
        else:
            _forget_devices(work, leftover, gone_hosts)
            trouble = clean(replace(work, changed_too=changed), leftover)
            entry = state.ledger.find(leftover.tag)
            asks = bool(trouble and entry and entry.details.get(CHANGED))
            said = _AS_AGREED if changed and leftover.changed else leftover.removed
            if leftover.kind == SafetySnapshot.kind:
                how = Remark.COPIED_BACK.read(work)
                said = f"{said}; {how}" if how else said
            yield replace(leftover, changed=asks, removed=said), trouble
    for leftover in lost(state, lost_in) if lost_in else ():
        if not leftover.matches(only):
            continue
        work = replace(works.without_run(leftover.volume_id), changed_too=changed)
        try:
            yield leftover, clean_lost(work, leftover, older_than=older_than)
        except ChangedError as error:
            yield replace(leftover, changed=True), str(error)


def known(state: State) -> list[Leftover]:
    """What runs of this database have left, in the order in which to remove it.

    A resource of a run that is driven, or that can be resumed, is not a leftover.
    """
    found = []
    ended: dict[str, bool] = {}
    for entry in state.ledger.open():
        if entry.run_id not in ended:
            ended[entry.run_id] = bool(_has_ended(state, entry.run_id))
        if ended[entry.run_id] and entry.kind in KINDS:
            found.append(_leftover(entry))
    return found


def lost(state: State, cinder: Cinder) -> list[Leftover]:
    """Find leftovers in Cinder: of runs that this database does not know, or that have ended.

    A run of another database can be alive: it marks its volumes every few minutes, and ``since`` is
    the time of the last mark. Of a run that has ended, the result lists only resources that are not
    in the ledger: Cinder did not answer the request, and carried it out after the run had checked
    for its result.
    """
    found = [
        Leftover(
            tag=str(mark),
            resource_id=resource["id"],
            since=marks.alive_at(resource) or marks.utc(resource["created_at"]),
            reason="this state database does not know its run",
            lost=True,
            of_volume=resource.get("volume_id") or resource["id"],
            foreign=_why_foreign(state, cinder, resource, mark),
        )
        for resource in (
            *cinder.volumes.marked(),
            *cinder.snapshots.marked(),
            *cinder.groups.marked(),
            *cinder.group_snapshots.marked(),
        )
        if (mark := Mark.of(resource)) and mark.kind in _ORDER
    ]
    ended = {leftover.run_id: _has_ended(state, leftover.run_id) for leftover in found}
    # :func:`known` already returns what is open in the ledger.
    listed = {entry.tag for entry in state.ledger.open()}
    # A sign of life of one resource counts for its whole run.
    latest: dict[str, datetime] = {}
    for leftover in (one for one in found if not one.foreign):
        latest[leftover.run_id] = max(leftover.since, latest.get(leftover.run_id, leftover.since))
    leftovers = []
    for leftover in found:
        if leftover.foreign:
            reason = f"volflow did not make it, although it has volflow's mark: {leftover.foreign}"
            leftovers.append(replace(leftover, reason=reason))
        elif ended[leftover.run_id] is None:
            leftovers.append(replace(leftover, since=latest[leftover.run_id]))
        elif ended[leftover.run_id] and _ledger_tag(leftover) not in listed:
            leftovers.append(
                replace(leftover, ended=True, reason="Cinder created it after its run had ended")
            )
    return sorted(leftovers, key=lambda leftover: _ORDER.index(leftover.kind))


def _forget_devices(work: Work, leftover: Leftover, gone_hosts: Collection[str]) -> None:
    """Close the entry of a device that is gone with its host."""
    entry = work.services.ledger.find(leftover.tag)
    if entry and entry.kind == Device.kind and entry.details["host"] in gone_hosts:
        work.services.ledger.gone(entry.tag)


def clean(work: Work, leftover: Leftover) -> str | None:
    """Remove a leftover of this database; returns why it could not be removed, if so."""
    entry = work.services.ledger.find(leftover.tag)
    if entry and entry.kind == Device.kind and entry.state is not EntryState.GONE:
        elsewhere = Device.elsewhere(entry)
        if elsewhere:
            return elsewhere
    # What is kept for another host has that host's name in its kind.
    KINDS[leftover.kind.partition("@")[0]].dispose(work, leftover.tag)
    entry = work.services.ledger.find(leftover.tag)
    if entry is None or entry.state is EntryState.GONE:
        return None
    return entry.reason or "the state database could not be written to"


def clean_lost(work: Work, leftover: Leftover, *, older_than: timedelta) -> str | None:
    """Remove a leftover that only Cinder knows; returns why it could not be removed, if so.

    :param older_than: how long a run of another database must have given no sign of life
    :raises ChangedError: it is a new volume that somebody may use: a person must decide
    """
    if leftover.foreign:
        return (
            f"volflow did not make it, although it has volflow's mark ({leftover.foreign}): remove "
            f"its metadata key '{TAG_KEY}', or delete it with the openstack command"
        )
    if not leftover.ended:
        if datetime.now(UTC) - leftover.since < older_than:
            return f"its run gave a sign of life at {leftover.since:%Y-%m-%d %H:%M} UTC"
        if leftover.kind in (SafetySnapshot.kind, Claim.kind):
            return (
                "a restore into an existing volume was interrupted: check whether the volume is "
                "intact, revert it to its safety snapshot if it is not, then delete that snapshot "
                f"and the volume's metadata key '{TAG_KEY}'"
            )
    work = replace(work, services=replace(work.services, run_id=leftover.run_id))
    entry = _as_entry(work, leftover)
    if leftover.kind == NewVolume.kind:
        as_left.require_unused(work, str(leftover.resource_id))
    try:
        if entry.kind in _ATTACHED and not entry.details.get("kept"):
            Attachment.remove(work, replace(entry, resource_id=None))
        KINDS[entry.kind].remove(work, entry)
    except VolflowError as error:
        return str(error)
    return None


def _as_entry(work: Work, leftover: Leftover) -> Entry:
    """A leftover that only Cinder knows, as an entry of the ledger."""
    tag, now = _ledger_tag(leftover), datetime.now(UTC)
    kept = leftover.kind == KEPT
    earlier = work.services.ledger.find(tag)
    if earlier is not None and earlier.details.get("kept") and not kept:
        return earlier  # it names the volume that was kept; another one has the same mark
    return Entry(
        tag=tag,
        run_id=leftover.run_id,
        item=leftover.volume_id,
        kind=NewVolume.kind if kept else leftover.kind,
        resource_id=leftover.resource_id,
        state=EntryState.LEFTOVER,
        reason=None,
        details={"volume_id": leftover.of_volume, "kept": kept},
        created_at=now,
        updated_at=now,
    )


def _ledger_tag(leftover: Leftover) -> str:
    """The tag in the ledger. In Cinder a new volume that was kept has another one."""
    if leftover.kind == KEPT:
        return tag(leftover.run_id, leftover.volume_id, NewVolume.kind)
    return leftover.tag


def _leftover(entry: Entry) -> Leftover:
    reason = entry.reason or "its run ended and did not remove it"
    doubtful = bool(entry.details.get(CHANGED))
    found = Leftover(entry.tag, entry.resource_id, entry.updated_at, reason, changed=doubtful)
    if entry.kind == Device.kind and Device.ended(entry):
        return replace(found, removed="gone with an earlier boot of this host")
    return found


def _has_ended(state: State, run_id: str) -> bool | None:
    """Whether a run has ended and no process drives it; None if this database does not know it."""
    try:
        run = state.runs.get(run_id)
    except (NotFound, Ambiguous):
        return None
    if run.id != run_id:
        return None  # the text is only the beginning of the id of another run
    return run.state.final and not lease.is_driven(state.leases, run_id)


def _why_foreign(
    state: State, cinder: Cinder, resource: Mapping[str, Any], mark: Mark
) -> str | None:
    """Why a resource cannot be what its mark says; None if it can."""
    kind = NewVolume.kind if mark.kind == KEPT else mark.kind
    entry = state.ledger.find(tag(mark.run_id, mark.volume_id, kind))
    if entry and entry.resource_id == resource["id"]:
        return None
    if entry and entry.resource_id and mark.kind != KEPT:
        if not ownership.is_of_request(resource, entry):
            return f"the run made {entry.resource_id}, and this came later"
        # Cinder made it for the same request.
        return ownership.why_not_ours(cinder, resource, mark)
    return ownership.why_not_removable(cinder, resource, mark)
