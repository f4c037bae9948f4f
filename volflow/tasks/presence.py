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
from volflow.cloud.client import REFUSED_FOR_STATE, Deletion
from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.cloud.snapshots import Snapshots
from volflow.cloud.volumes import Volumes
from volflow.cloud.wait import Resource, Resources, is_being_deleted
from volflow.errors import ChangedError, CloudError, NotDeletedError, UnavailableError, WaitError
from volflow.tasks.as_left import CHANGED, note
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work

LOG = logging.getLogger(__name__)

# The key of an entry's details in the ledger: what is known of the deletion of the resource, a
# :class:`Deletion`. Earlier volflow wrote True, which means ASKED, and False for UNKNOWN.
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
        can be seen although Cinder has not begun to delete it
    """
    cinder = work.cinder
    found = cinder.snapshots.tagged(source_id, entry.tag)
    if entry.resource_id and entry.resource_id not in {one["id"] for one in found}:
        snapshot = cinder.snapshots.existing(entry.resource_id)
        if snapshot is not None:
            if _has_mark(work, "Snapshot", snapshot, entry):
                found = [*found, snapshot]
        elif _deletion(work, entry) is not Deletion.BEGUN:
            _require_snapshot_gone(work, entry, entry.resource_id, source_id)
    return _ours(work, "snapshot", found, entry)


def volumes_to_remove(work: Work, entry: Entry, *, also: str | None = None) -> Resources:
    """The volumes of a step that are to be removed.

    :param also: another tag that the volume in the ledger can have
    :raises ChangedError: the volume in the ledger has lost its mark, or cannot be seen although
        Cinder has not begun to delete it
    """
    cinder = work.cinder
    found = cinder.volumes.tagged(entry.tag)
    if entry.resource_id and entry.resource_id not in {one["id"] for one in found}:
        volume = cinder.volumes.existing(entry.resource_id)
        if volume is not None:
            kept = also is not None and tag_of(volume) == also
            if kept or _has_mark(work, "Volume", volume, entry):
                found = [*found, volume]
        elif _deletion(work, entry) is Deletion.UNKNOWN:
            _require_volume_gone(work, entry, entry.resource_id)
    return _ours(work, "volume", found, entry)


def delete_volume(work: Work, entry: Entry, volume: Resource) -> None:
    """Delete a volume of a step and wait until it is gone.

    :raises ChangedError: it cannot be seen any more, and may be in another project; or somebody has
        made a snapshot of it
    """
    try:
        deletion = _delete(work, entry, volume, work.cinder.volumes)
    except CloudError as error:
        hindrances = _snapshots_of(work, volume["id"])
        if not hindrances:
            raise
        raise ChangedError(
            f"{error} Somebody has made a snapshot of it, which must be deleted first: {hindrances}"
        ) from None
    if deletion is Deletion.UNKNOWN:
        _require_volume_gone(work, entry, volume["id"])


def delete_snapshot(work: Work, entry: Entry, snapshot: Resource) -> None:
    """Delete a snapshot of a step and wait until it is gone.

    :raises ChangedError: neither it nor its volume can be seen any more: both may be in another
        project
    """
    # A lost answer says less than the volume that it is of.
    if _delete(work, entry, snapshot, work.cinder.snapshots) is not Deletion.BEGUN:
        _require_snapshot_gone(work, entry, snapshot["id"], snapshot["volume_id"])


def _delete(work: Work, entry: Entry, resource: Resource, manager: Volumes | Snapshots) -> Deletion:
    """Delete a resource of a step; return who has deleted it, as far as is known.

    The ledger has it too, so that a process that finds the resource gone knows why.
    """
    known = resource["id"] == entry.resource_id

    def record(deletion: Deletion) -> None:
        if known and _deletion(work, entry) is not deletion:
            note(work, entry.tag, **{DELETING: deletion})

    if is_being_deleted(resource):
        record(Deletion.BEGUN)
    elif known and _deletion(work, entry) is Deletion.UNKNOWN:
        # The process can be killed before it has the answer.
        record(Deletion.ASKED)
    try:
        deletion = manager.delete(resource["id"], begun=lambda: record(Deletion.BEGUN))
    except CloudError as error:
        if known and _is_refused(error, _deletion(work, entry)):
            # If the resource is gone later, volflow has not deleted it.
            record(Deletion.UNKNOWN)
        raise
    if is_being_deleted(resource) or (known and _deletion(work, entry) is Deletion.BEGUN):
        return Deletion.BEGUN
    record(deletion)
    return deletion


def _is_refused(error: CloudError, deletion: Deletion) -> bool:
    """Whether an error says that Cinder does not delete a resource.

    :param deletion: what the ledger knows of the deletion. What Cinder has begun it ends, whatever
        it answers to this login later; but not if it refuses because of the resource's state
    """
    if isinstance(error, NotDeletedError):
        return True
    if isinstance(error, (UnavailableError, WaitError)):
        return False
    return deletion is not Deletion.BEGUN or error.status in REFUSED_FOR_STATE


def _deletion(work: Work, entry: Entry) -> Deletion:
    """What is known of the deletion of a step's resource.

    An earlier attempt of the same removal can have recorded it after the entry was read.
    """
    known = work.services.ledger.find(entry.tag)
    same = known is not None and known.resource_id == entry.resource_id
    found = (known if known and same else entry).details.get(DELETING)
    if isinstance(found, str):
        return Deletion(found)
    return Deletion.ASKED if found else Deletion.UNKNOWN


def _require_volume_gone(work: Work, entry: Entry, volume_id: str) -> None:
    """Make sure that a volume is gone that this user does not see, without a sign of its deletion.

    :raises ChangedError: that cannot be known, and no person has agreed to take it for gone
    """
    if not work.cinder.volumes.sees_all_projects():
        _refuse_lost(
            work,
            entry,
            volume_id,
            f"Volume {volume_id} cannot be seen in this project, and Cinder has given volflow no "
            "sign that it deletes it. Either it was deleted, or it went to another project: then "
            "the owner of that project, or an administrator, must delete it.",
        )


def _require_snapshot_gone(work: Work, entry: Entry, snapshot_id: str, source_id: str) -> None:
    """Make sure that a snapshot is gone that this user does not see, as above.

    A snapshot goes to another project only together with its volume.

    :raises ChangedError: that cannot be known, and no person has agreed to take it for gone
    """
    volumes = work.cinder.volumes
    if volumes.existing(source_id) is None and not volumes.sees_all_projects():
        _refuse_lost(
            work,
            entry,
            snapshot_id,
            f"Neither snapshot {snapshot_id} nor its volume {source_id} can be seen in this "
            "project. Either both were deleted, or the volume went to another project with its "
            "snapshots: then the owner of that project, or an administrator, must delete the "
            "snapshot.",
        )


def _refuse_lost(work: Work, entry: Entry, resource_id: str, message: str) -> None:
    """Leave it to a person whether a resource is gone that cannot be seen.

    :raises ChangedError: no person has agreed
    """
    if entry.resource_id is None and not work.changed_too:
        known = work.services.ledger.find(entry.tag)
        if known is not None and known.resource_id is None:
            # Otherwise the next attempt does not know what it does not see.
            work.services.ledger.present(entry.tag, resource_id)
    named = entry.resource_id or resource_id
    _refuse(work, entry, f"{message} 'volflow leftover clean --changed {named}' takes it for gone.")


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
