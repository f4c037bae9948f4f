"""Temporary things that should be gone and are not: found, and removed.

There are two kinds. What a run of this state database has left stands in its ledger. What a run
left whose database is no more is told by the tag that everything in Cinder carries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from persistence import Entry, EntryState, NotFound, State
from volflow import heartbeat
from volflow.cinder import TAG_KEY, Cinder
from volflow.errors import VolflowError
from volflow.groups import Groups
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Temporary
from volflow.tasks.clone import Clone
from volflow.tasks.device import Device
from volflow.tasks.group import GroupSnapshot, RestoredGroup
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.properties import ApplyProperties
from volflow.tasks.safety import SafetySnapshot
from volflow.tasks.save import Save
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.target import Claim, NewVolume
from volflow.tasks.work import Work

_KINDS: dict[str, type[Temporary]] = {
    kind.kind: kind
    for kind in (
        Snapshot,
        GroupSnapshot,
        RestoredGroup,
        Clone,
        Attachment,
        Device,
        Save,
        RepositoryLock,
        NewVolume,
        Claim,
        SafetySnapshot,
        ApplyProperties,
    )
}

# In which order what is found in Cinder alone goes: a snapshot after the volume made from it.
_ORDER = [
    *(Clone.kind, NewVolume.kind, RestoredGroup.kind),
    *(Snapshot.kind, GroupSnapshot.kind, SafetySnapshot.kind, Claim.kind),
]


@dataclass(frozen=True)
class Leftover:
    """A temporary thing that is left over.

    :ivar tag: its mark: run, volume and kind
    :ivar resource_id: how Cinder or the host calls it, as far as that is known
    :ivar since: when it was last heard of, in UTC
    :ivar reason: why it is still there
    :ivar lost: it was found in Cinder alone; this state database does not know its run
    :ivar of_volume: where it is lost: the volume that it is, or that it is a snapshot of
    """

    tag: str
    resource_id: str | None
    since: datetime
    reason: str
    lost: bool = False
    of_volume: str | None = None

    @property
    def run_id(self) -> str:
        return self.tag.split("/")[0]

    @property
    def volume_id(self) -> str:
        return self.tag.split("/")[1]

    @property
    def kind(self) -> str:
        return self.tag.split("/")[2]


def known(state: State) -> list[Leftover]:
    """What runs of this database have left, in the order in which it is to be removed.

    What a run still needs that is driven, or that can be resumed, is none.
    """
    found = []
    ended: dict[str, bool] = {}
    for entry in state.ledger.open():
        if entry.run_id not in ended:
            ended[entry.run_id] = _has_ended(state, entry.run_id)
        if ended[entry.run_id] and entry.kind in _KINDS:
            found.append(_leftover(entry))
    return found


def lost(state: State, cinder: Cinder) -> list[Leftover]:
    """What carries the tag of a run that this database does not know.

    A run of another database can be alive: it marks its volumes every few minutes, and
    ``since`` tells when it last did.
    """
    found = [
        Leftover(
            tag=resource["metadata"][TAG_KEY],
            resource_id=resource["id"],
            since=_last_sign(resource),
            reason="its run is not known here",
            lost=True,
            of_volume=resource.get("volume_id") or resource["id"],
        )
        for resource in [*cinder.all_tagged(), *Groups(cinder).marked()]
    ]
    unknown: dict[str, bool] = {}
    for leftover in found:
        if leftover.run_id not in unknown:
            unknown[leftover.run_id] = not _is_known(state, leftover.run_id)
    # A sign of life of one thing is one of its whole run.
    latest: dict[str, datetime] = {}
    for leftover in found:
        latest[leftover.run_id] = max(leftover.since, latest.get(leftover.run_id, leftover.since))
    told = [
        replace(leftover, since=latest[leftover.run_id])
        for leftover in found
        if unknown[leftover.run_id] and leftover.kind in _ORDER
    ]
    return sorted(told, key=lambda leftover: _ORDER.index(leftover.kind))


def clean(work: Work, leftover: Leftover) -> str | None:
    """Remove a leftover of this database, and give what is still in the way, if anything."""
    _KINDS[leftover.kind].dispose(work, leftover.tag)
    entry = work.services.ledger.find(leftover.tag)
    if entry is None or entry.state is EntryState.GONE:
        return None
    return entry.reason or "the state database could not be written to"


def clean_lost(work: Work, leftover: Leftover, *, older_than: timedelta) -> str | None:
    """Remove what a run has left whose database is gone, and give what is still in the way.

    :param older_than: how long the run must have given no sign of life
    """
    if datetime.now(UTC) - leftover.since < older_than:
        return f"its run gave a sign of life at {leftover.since:%Y-%m-%d %H:%M} UTC"
    if leftover.kind in (SafetySnapshot.kind, Claim.kind):
        return (
            "a restore into an existing volume was interrupted: look whether the volume is whole, "
            "revert it to its safety snapshot if it is not, then delete that snapshot and the "
            f"volume's metadata key '{TAG_KEY}'"
        )
    work = replace(work, services=replace(work.services, run_id=leftover.run_id))
    now = datetime.now(UTC)
    entry = Entry(
        tag=leftover.tag,
        run_id=leftover.run_id,
        item=leftover.volume_id,
        kind=leftover.kind,
        resource_id=leftover.resource_id,
        state=EntryState.LEFTOVER,
        reason=None,
        details={"volume_id": leftover.of_volume},
        created_at=now,
        updated_at=now,
    )
    try:
        if leftover.kind in (Clone.kind, NewVolume.kind):
            Attachment.remove(work, replace(entry, resource_id=None))
        _KINDS[leftover.kind].remove(work, entry)
    except VolflowError as error:
        return str(error)
    return None


def _leftover(entry: Entry) -> Leftover:
    reason = entry.reason or "its run ended without removing it"
    return Leftover(entry.tag, entry.resource_id, entry.updated_at, reason)


def _has_ended(state: State, run_id: str) -> bool:
    run = state.runs.get(run_id)
    return run.state.final and not heartbeat.is_driven(state.leases, run_id)


def _is_known(state: State, run_id: str) -> bool:
    try:
        state.runs.get(run_id)
    except NotFound:
        return False
    return True


def _last_sign(resource: dict[str, object]) -> datetime:
    metadata = resource["metadata"]
    assert isinstance(metadata, dict)
    text = metadata.get(heartbeat.ALIVE_KEY) or resource["created_at"]
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)
