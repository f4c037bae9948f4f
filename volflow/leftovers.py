"""Temporary things that should be gone and are not: found, and removed.

There are two kinds. What a run of this state database has left stands in its ledger. What a run
left whose database is no more is told by the tag that everything in Cinder carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from persistence import Entry, EntryState, NotFound, State
from volflow import heartbeat
from volflow.cinder import TAG_KEY, Cinder
from volflow.errors import VolflowError
from volflow.tasks.attachment import Attachment
from volflow.tasks.base import Temporary
from volflow.tasks.clone import Clone
from volflow.tasks.device import Device
from volflow.tasks.group import GroupSnapshot
from volflow.tasks.safety import SafetySnapshot
from volflow.tasks.save import Save
from volflow.tasks.snapshot import Snapshot
from volflow.tasks.target import Claim, NewVolume
from volflow.tasks.work import Services, Work

_KINDS: dict[str, type[Temporary]] = {
    kind.kind: kind
    for kind in (
        Snapshot,
        GroupSnapshot,
        Clone,
        Attachment,
        Device,
        Save,
        NewVolume,
        Claim,
        SafetySnapshot,
    )
}


@dataclass(frozen=True)
class Leftover:
    """A temporary thing that is left over.

    :ivar tag: its mark: run, volume and kind
    :ivar resource_id: how Cinder or the host calls it, as far as that is known
    :ivar since: when it was last heard of, in UTC
    :ivar reason: why it is still there
    :ivar lost: it was found in Cinder alone; this state database does not know its run
    """

    tag: str
    resource_id: str | None
    since: datetime
    reason: str
    lost: bool = False

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
        )
        for resource in cinder.all_tagged()
    ]
    unknown: dict[str, bool] = {}
    for leftover in found:
        if leftover.run_id not in unknown:
            unknown[leftover.run_id] = not _is_known(state, leftover.run_id)
    # A sign of life of one thing is one of its whole run.
    latest: dict[str, datetime] = {}
    for leftover in found:
        latest[leftover.run_id] = max(leftover.since, latest.get(leftover.run_id, leftover.since))
    return [
        replace(leftover, since=latest[leftover.run_id])
        for leftover in found
        if unknown[leftover.run_id]
    ]


def clean(services: Services, leftovers: list[Leftover]) -> Iterator[tuple[Leftover, str | None]]:
    """Remove leftovers of this database, and tell of each what is still in the way, if anything.

    :param services: its ``run_id`` does not matter
    """
    for leftover in leftovers:
        work = Work(replace(services, run_id=leftover.run_id), leftover.volume_id)
        _KINDS[leftover.kind].dispose(work, leftover.tag)
        entry = services.ledger.find(leftover.tag)
        gone = entry is None or entry.state is EntryState.GONE
        yield leftover, None if gone or entry is None else entry.reason


def clean_lost(
    services: Services, leftovers: list[Leftover], *, older_than: timedelta
) -> Iterator[tuple[Leftover, str | None]]:
    """Remove what runs have left whose database is gone, and tell what is still in the way.

    :param older_than: how long a run must have given no sign of life
    """
    # A snapshot cannot go before the volume made from it.
    order = [Clone.kind, NewVolume.kind, Snapshot.kind, SafetySnapshot.kind, Claim.kind]
    for leftover in sorted(leftovers, key=lambda one: order.index(one.kind)):
        if datetime.now(UTC) - leftover.since < older_than:
            yield leftover, f"its run gave a sign of life at {leftover.since:%Y-%m-%d %H:%M} UTC"
        elif leftover.kind in (SafetySnapshot.kind, Claim.kind):
            yield (
                leftover,
                "a restore into an existing volume was interrupted: look whether the volume is "
                "whole, revert it to its safety snapshot if it is not, then delete that snapshot "
                f"and the volume's metadata key '{TAG_KEY}'",
            )
        else:
            yield leftover, _remove_lost(services, leftover)


def _remove_lost(services: Services, leftover: Leftover) -> str | None:
    work = Work(replace(services, run_id=leftover.run_id), leftover.volume_id)
    now = datetime.now(UTC)
    entry = Entry(
        tag=leftover.tag,
        run_id=leftover.run_id,
        item=leftover.volume_id,
        kind=leftover.kind,
        resource_id=leftover.resource_id,
        state=EntryState.LEFTOVER,
        reason=None,
        details={"volume_id": leftover.resource_id},
        created_at=now,
        updated_at=now,
    )
    try:
        if leftover.kind in (Clone.kind, NewVolume.kind):
            Attachment.remove(work, entry)
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
