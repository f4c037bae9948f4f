"""What of a step's resources is there to remove, and whether what is not found is really gone.

Cinder answers 404 for what does not exist, and for what this user cannot see. A volume that goes to
another project takes its snapshots along. So what the ledger has as present counts as gone only if
the place where it would be can be seen.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from persistence import Entry
from volflow.cloud import ownership
from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.cloud.wait import Resource, Resources
from volflow.errors import ChangedError, CloudError, UnavailableError, WaitError
from volflow.tasks.as_left import CHANGED, note
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# The key of an entry's details in the ledger: volflow has asked Cinder to delete the resource.
DELETING = "deleting"


def earlier_snapshot(work: Work, entry: Entry, source_id: str) -> Resource | None:
    """The snapshot that an earlier attempt of a step has made: the one in the ledger, or one that
    fits its mark.
    """
    cinder = work.cinder
    if entry.resource_id:
        return cinder.snapshots.existing(entry.resource_id)
    return ownership.made_earlier(cinder, cinder.snapshots.tagged(source_id, entry.tag))


def earlier_volume(work: Work, entry: Entry, snapshot_id: str | None = None) -> Resource | None:
    """The volume that an earlier attempt of a step has made: the one in the ledger, or one that
    fits its mark.

    :param snapshot_id: the snapshot that it must be made from; None for a volume made from none
    """
    cinder = work.cinder
    if entry.resource_id:
        return cinder.volumes.existing(entry.resource_id)
    found = [
        one for one in cinder.volumes.tagged(entry.tag) if one.get("snapshot_id") == snapshot_id
    ]
    return ownership.made_earlier(cinder, found)


def snapshots_to_remove(work: Work, entry: Entry, source_id: str) -> Resources:
    """The snapshots of a step that are to be removed.

    :param source_id: the volume that they are of
    :raises ChangedError: the snapshot in the ledger has lost its mark, or neither it nor its volume
        can be seen
    """
    cinder = work.cinder
    found = cinder.snapshots.tagged(source_id, entry.tag)
    if entry.resource_id and entry.resource_id not in {one["id"] for one in found}:
        snapshot = cinder.snapshots.existing(entry.resource_id)
        if snapshot is not None:
            if _has_mark(work, "Snapshot", snapshot, entry):
                found = [*found, snapshot]
        elif cinder.volumes.existing(source_id) is None and not cinder.volumes.sees_all_projects():
            _refuse(
                work,
                entry,
                f"Neither snapshot {entry.resource_id} nor its volume {source_id} can be seen in "
                "this project. Either both were deleted, or the volume went to another project "
                "with its snapshots: then the owner of that project, or an administrator, must "
                "delete the snapshot. 'volflow leftover clean --changed "
                f"{entry.resource_id}' takes it for gone.",
            )
    return _ours(work, "snapshot", found, entry)


def volumes_to_remove(work: Work, entry: Entry, *, also: str | None = None) -> Resources:
    """The volumes of a step that are to be removed.

    :param also: another tag that the volume in the ledger can have
    :raises ChangedError: the volume in the ledger has lost its mark, or cannot be seen although
        volflow has not deleted it
    """
    cinder = work.cinder
    found = cinder.volumes.tagged(entry.tag)
    if entry.resource_id and entry.resource_id not in {one["id"] for one in found}:
        volume = cinder.volumes.existing(entry.resource_id)
        if volume is not None:
            kept = also is not None and tag_of(volume) == also
            if kept or _has_mark(work, "Volume", volume, entry):
                found = [*found, volume]
        elif not entry.details.get(DELETING):
            _require_gone(work, entry)
    return _ours(work, "volume", found, entry)


def delete_volume(work: Work, entry: Entry, volume: Resource) -> None:
    """Delete a volume of a step and wait until it is gone.

    The ledger records it first, so that a process that finds it gone knows why.
    """
    known = volume["id"] == entry.resource_id
    if known:
        note(work, entry.tag, **{DELETING: True})
    try:
        deleted = work.cinder.volumes.delete(volume["id"])
    except CloudError as error:
        if known and not isinstance(error, (UnavailableError, WaitError)):
            # Cinder has refused. If the volume is gone later, volflow has not deleted it.
            note(work, entry.tag, **{DELETING: False})
        hindrances = _snapshots_of(work, volume["id"])
        if not hindrances:
            raise
        raise ChangedError(
            f"{error} Somebody has made a snapshot of it, which must be deleted first: {hindrances}"
        ) from None
    if known and not deleted:
        note(work, entry.tag, **{DELETING: False})
        _require_gone(work, entry)


def _require_gone(work: Work, entry: Entry) -> None:
    """Make sure that a volume is gone that this user does not see, and volflow has not deleted.

    :raises ChangedError: that cannot be known, and no person has agreed to take it for gone
    """
    if not work.cinder.volumes.sees_all_projects():
        _refuse(
            work,
            entry,
            f"Volume {entry.resource_id} cannot be seen in this project, and volflow has not "
            "deleted it. Either somebody else has, or it went to another project: then the "
            "owner of that project, or an administrator, must delete it. "
            f"'volflow leftover clean --changed {entry.resource_id}' takes it for gone.",
        )


def give_back(work: Work, volume_id: str, had: str | None, keys: Sequence[str] = ()) -> None:
    """Take a run's mark off a tenant's volume, and put back what the tenant had under its key.

    :param had: what that was; None if the volume did not have the key
    :param keys: other metadata keys to remove
    """
    volumes = work.cinder.volumes
    if had is not None:
        volumes.set_metadata(volume_id, {TAG_KEY: had})
    remove = [*keys, *([TAG_KEY] if had is None else [])]
    if remove:
        volumes.delete_metadata(volume_id, remove)


def _ours(work: Work, what: str, found: Resources, entry: Entry) -> Resources:
    """What to remove of the resources with the tag of a step. What stays is reported."""
    ours = ownership.to_remove(work.cinder, found, entry)
    others = [one["id"] for one in found if one not in ours]
    if others:
        text = (
            f"Somebody has made a {what} with the mark of this run: {', '.join(others)}. It stays, "
            "because volflow did not make it."
        )
        LOG.warning("%s", text)
        Remark.COPIES.of(work, text)
    return ours


def _has_mark(work: Work, what: str, resource: Resource, entry: Entry) -> bool:
    """Whether a resource of the ledger still carries its mark.

    :raises ChangedError: it does not, and no person has agreed to leave it alone
    """
    if tag_of(resource) == entry.tag:
        return True
    _refuse(
        work,
        entry,
        f"{what} {resource['id']} no longer carries the mark of this run (metadata key "
        f"'{TAG_KEY}'), so somebody else may use it. Delete it if nobody does. 'volflow leftover "
        f"clean --changed {resource['id']}' leaves it alone, and takes it off the list.",
    )
    return False


def _refuse(work: Work, entry: Entry, message: str) -> None:
    """Leave it to a person, unless one has already agreed.

    :raises ChangedError: nobody has
    """
    if not work.changed_too:
        note(work, entry.tag, **{CHANGED: message})
        raise ChangedError(message)


def _snapshots_of(work: Work, volume_id: str) -> str:
    """The ids of the snapshots of a volume, with which Cinder does not delete it."""
    try:
        return ", ".join(one["id"] for one in work.cinder.snapshots.list(volume_id))
    except CloudError:
        return ""
