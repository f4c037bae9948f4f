"""Whether a volume is as volflow left it.

A restore that fails and cannot be undone at once leaves a volume behind: a half-written one, or a
new one. Days later somebody may have repaired and used it. So volflow records how Cinder shows such
a volume after each change of its own, and compares that before it reverts, overwrites or deletes it
late. If it differs, a person must decide.

Cinder sets ``updated_at`` of a volume when its status, name or size changes, thus at every attach
and detach, but not when its metadata changes or a snapshot of it is made. While the run's own
attachment exists, nobody else can write, unless the volume allows several attachments.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from persistence import Entry, EntryState
from volflow.cloud.marks import CLAIMED, RESTORED, TAG_KEY, utc
from volflow.cloud.wait import Resource
from volflow.errors import ChangedError, CloudError
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# The kind of the ledger's entry that says that an existing volume is being overwritten.
OVERWRITE = "overwrite"
# The kind of the run's own attachment in the ledger.
_ATTACHMENT = "attachment"
# The keys of an entry's details: what Cinder showed after the last change; until when a change that
# has begun may show in Cinder, if the process is killed before it can record its end.
LEFT, UNTIL = "left", "until"
# The key of an entry's details: the snapshot of a revert that has begun.
REVERT = "revert"
# The key of an entry's details: what somebody else has changed, so that a person must decide.
CHANGED = "changed"

_SHOWN = ("size", "status", "name")
_QUICK = timedelta(minutes=1)
_PER_GIB = timedelta(seconds=5)
# Between the two changes by which Cinder ends a revert.
_AT_ONCE = timedelta(seconds=2)
# Cinder saves a new volume once more after it has made it available (VolumeManager.create_volume).
_SETTLED = timedelta(seconds=10)


def is_half_written(work: Work) -> bool:
    """Whether the target was overwritten in part, and neither completed nor reverted."""
    entry = work.services.ledger.find(work.tag(OVERWRITE))
    return (
        entry is not None
        and entry.state is not EntryState.GONE
        and not entry.details.get("kept", False)
    )


def begun(size_gib: int = 0) -> dict[str, Any]:
    """The details of an entry whose volume volflow begins to change.

    :param size_gib: its size, if the change can take longer for a larger volume
    """
    return {UNTIL: (datetime.now(UTC) + _QUICK + size_gib * _PER_GIB).isoformat()}


def left(volume: Resource) -> dict[str, Any]:
    """The details of an entry whose volume volflow has finished changing."""
    shown = {name: volume[name] for name in _SHOWN}
    return {LEFT: shown | {"updated_at": _updated(volume)}, UNTIL: None, REVERT: None}


def made(volume: Resource) -> dict[str, Any]:
    """The details of an entry whose volume has just been made, and that nobody has used yet."""
    return left(volume) | {UNTIL: (utc(_updated(volume)) + _SETTLED).isoformat()}


@contextmanager
def touching(work: Work, volume_id: str, *, revert_to: str | None = None) -> Iterator[None]:
    """Change a volume, and record how it is left.

    If somebody else has changed it before, that stays recorded.

    :param revert_to: the snapshot, if the change is a revert, which can take long
    """
    entry = _entry(work, volume_id)
    if entry is None or _changes(work, entry, volume_id):
        yield
        return
    note(work, entry.tag, **begun(), **{REVERT: revert_to})
    try:
        yield
    finally:
        try:
            volume = work.cinder.volumes.existing(volume_id)
        except CloudError as error:
            LOG.info("Volume %s could not be read after its change: %s", volume_id, error)
        else:
            if volume is not None:
                note(work, entry.tag, **left(volume))


def record(work: Work, volume_id: str) -> None:
    """Record how a volume is left, if it must be compared later."""
    entry = _entry(work, volume_id)
    volume = work.cinder.volumes.existing(volume_id) if entry else None
    if entry and volume:
        note(work, entry.tag, **left(volume))


def require(work: Work, volume_id: str, tag: str, otherwise: str) -> None:
    """Make sure that a volume is as volflow left it, or that a person has agreed.

    :param tag: the entry in the ledger that becomes a leftover if not
    :param otherwise: what the person can do
    :raises ChangedError: somebody else has changed it
    """
    entry = _entry(work, volume_id)
    what = _changes(work, entry, volume_id) if entry else None
    if what is None:
        return
    if work.changed_too:
        LOG.warning("Volume %s %s; it is changed nevertheless, as requested", volume_id, what)
        return
    message = f"Volume {volume_id} {what}. {otherwise}"
    note(work, tag, **{CHANGED: what})
    raise ChangedError(message)


def require_unused(work: Work, volume_id: str) -> None:
    """Make sure that nobody has used a new volume of a restore that no ledger knows.

    Nothing says how the run left it. So it must be as Cinder made it: never attached since.

    :raises ChangedError: somebody may use it, and no person has agreed to its removal
    """
    volume = work.cinder.volumes.existing(volume_id)
    if volume is None or work.changed_too:
        return
    made_within = utc(volume["created_at"]) + _QUICK + int(volume["size"]) * _PER_GIB
    attachments = [str(one["id"]) for one in work.cinder.attachments.list(volume_id)]
    if attachments:
        what = f"is attached (attachment {', '.join(attachments)})"
    elif utc(_updated(volume)) > made_within:
        what = f"was last changed by Cinder at {_updated(volume)}, and no record says who did that"
    else:
        return
    raise ChangedError(
        f"Volume {volume_id} {what}: its restore did not finish, but somebody may use it. Remove "
        f"its metadata key '{TAG_KEY}' to keep it; 'volflow leftover clean --lost --changed "
        f"{volume_id}' deletes it."
    )


def note(work: Work, tag: str, **details: Any) -> None:
    """Add details to an open entry of the ledger."""
    ledger = work.services.ledger
    entry = ledger.find(tag)
    if entry is not None and entry.state is not EntryState.GONE:
        ledger.intend(
            tag,
            run_id=entry.run_id,
            item=entry.item,
            kind=entry.kind,
            details=entry.details | details,
        )


def _entry(work: Work, volume_id: str) -> Entry | None:
    """The entry that says how a volume was left; None if it need not be compared."""
    tags = [work.tag(kind) for kind in (RESTORED, CLAIMED, OVERWRITE)]
    new, claim, written = map(work.services.ledger.find_all(tags).get, tags)
    if new is not None and new.state is not EntryState.GONE:
        return None if new.resource_id not in (None, volume_id) or new.details.get("kept") else new
    if claim is None or claim.details.get("volume_id") != volume_id:
        return None
    return written if written is not None and written.state is not EntryState.GONE else None


def _changes(work: Work, entry: Entry, volume_id: str) -> str | None:
    """What somebody else has changed since volflow's last change, as a sentence; None if nothing.

    :param entry: how it was left
    """
    volume = work.cinder.volumes.existing(volume_id)
    if volume is None:
        return None
    own, others = _attachments(work, volume_id)
    if others:
        return f"is attached elsewhere (attachment {', '.join(others)})"
    # Cinder sets this state only for the revert that volflow has requested.
    if (own and not volume["multiattach"]) or volume["status"] == "reverting":
        return None
    known, until = entry.details.get(LEFT), entry.details.get(UNTIL)
    if known is None and until is None:
        if entry.resource_id is not None or entry.kind == OVERWRITE:
            return (
                "may have been changed: the run did not record how it left it, and Cinder last "
                f"changed it at {_updated(volume)}"
            )
        # The process was killed before it had Cinder's answer.
        until = (entry.created_at + _QUICK + int(volume["size"]) * _PER_GIB).isoformat()
    if known is not None and known["updated_at"] == _updated(volume):
        return None
    own_until = _reverted_until(work, entry) or (until and datetime.fromisoformat(until))
    if own_until is not None and utc(_updated(volume)) <= own_until:
        return None
    was = known or {}
    differing = [
        f"its {name} was {was[name]!r} and is {volume[name]!r}"
        for name in _SHOWN
        if name in was and was[name] != volume[name]
    ]
    return (
        f"was changed by somebody else at {_updated(volume)} "
        f"({'; '.join(differing) or 'it was attached, detached or changed in some other way'})"
    )


def _reverted_until(work: Work, entry: Entry) -> datetime | None:
    """Until when a change can be that of a revert whose end the run did not see; None without one.

    Cinder changes the volume and its snapshot in the same moment when a revert ends.
    """
    snapshot_id = entry.details.get(REVERT)
    snapshot = work.cinder.snapshots.existing(snapshot_id) if snapshot_id else None
    return utc(_updated(snapshot)) + _AT_ONCE if snapshot else None


def _attachments(work: Work, volume_id: str) -> tuple[list[str], list[str]]:
    """The run's own attachments of a volume, and those of others."""
    entry = work.services.ledger.find(work.tag(_ATTACHMENT))
    known = entry.resource_id if entry else None
    # Cinder's answer with the id may have been lost.
    unknown = entry is not None and entry.state is EntryState.INTENDED and not known
    own: list[str] = []
    others: list[str] = []
    for one in work.cinder.attachments.list(volume_id):
        mine = one["id"] == known or (
            unknown and not one["instance"] and one["status"] != "attached"
        )
        (own if mine else others).append(str(one["id"]))
    return own, others


def _updated(volume: Resource) -> str:
    """When Cinder last changed a volume. A volume that was never changed has only its creation."""
    return str(volume.get("updated_at") or volume["created_at"])
