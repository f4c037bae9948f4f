"""Whether a resource in Cinder is what its mark says: one that volflow has made.

Tenants can write a mark, and tools copy it with the other metadata of a volume. So a mark counts
only together with what does not come along: the name that volflow gives, and the snapshot that the
volume is made from. Where the ledger has the id of a resource, that id decides, and nothing else.

A tenant can imitate all of this on resources of their own. That harms nobody else, because volflow
removes only the resource itself, in the project in which it was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from persistence import Entry
from volflow.cloud.cinder import Cinder
from volflow.cloud.marks import (
    CLAIMED,
    GROUP,
    GROUP_SNAPSHOT,
    ID_KEY,
    KEPT,
    RESTORED,
    SAFETY,
    SAFETY_VOLUME,
    SNAPSHOT,
    TEMPORARY,
    Mark,
    alive_at,
    tag,
    tag_of,
    utc,
)
from volflow.cloud.wait import Resource, Resources

# The key of an entry's details in the ledger: when Cinder made the resource, as Cinder shows it.
MADE_AT = "made_at"
# The key of an entry's details in the ledger: Cinder did not answer a request for the resource, and
# may still carry it out.
UNANSWERED = "unanswered"
# How far the clocks of Cinder and of this host may be apart.
_CLOCKS = timedelta(minutes=5)


def temporary_name(run_id: str) -> str:
    """The name of what a run makes and removes again."""
    return f"volflow-{run_id[:8]}"


def safety_name(run_id: str) -> str:
    """The name of a run's safety snapshots."""
    return f"volflow-safety-{run_id[:8]}"


def why_not_ours(cinder: Cinder, resource: Mapping[str, Any], mark: Mark) -> str | None:
    """Why a resource cannot be what its mark says; None if it can.

    :param resource: a volume, snapshot, group or group snapshot with this mark
    """
    if mark.kind in (GROUP, GROUP_SNAPSHOT):
        # Groups, which have no size, are listed with their tag as their metadata.
        if "size" in resource:
            return f"volflow does not mark a volume or a snapshot as '{mark.kind}'"
        return _why_not_group(resource, mark)
    if mark.kind in (SNAPSHOT, SAFETY):
        return _why_not_snapshot(resource, mark)
    if "volume_id" in resource:
        return f"volflow does not mark a snapshot as '{mark.kind}'"
    return _why_not_volume(cinder, resource, mark)


def why_not_removable(cinder: Cinder, resource: Mapping[str, Any], mark: Mark) -> str | None:
    """Why a resource that no ledger names must not be removed for its mark; None if it may.

    A new volume is made from nothing and has the tenant's name. Only its own id, which volflow
    writes on it, distinguishes it from one to which somebody has copied the mark.
    """
    why = why_not_ours(cinder, resource, mark)
    if why is None and mark.kind == RESTORED and not resource["metadata"].get(ID_KEY):
        return (
            f"it does not carry its own id (metadata key '{ID_KEY}'), as a new volume of volflow "
            "does: delete it if it is incomplete, else remove the mark"
        )
    if why is None and mark.kind == GROUP:
        return "anybody can write or copy the description of a group, and nothing else proves it"
    return why


def _why_not_group(resource: Mapping[str, Any], mark: Mark) -> str | None:
    if mark.kind == GROUP_SNAPSHOT and resource["name"] != temporary_name(mark.run_id):
        return f"its name is not '{temporary_name(mark.run_id)}'"
    return None


def _why_not_snapshot(resource: Mapping[str, Any], mark: Mark) -> str | None:
    if "volume_id" not in resource:
        return f"volflow does not mark a volume as '{mark.kind}'"
    name = safety_name if mark.kind == SAFETY else temporary_name
    if resource["name"] != name(mark.run_id):
        return f"its name is not '{name(mark.run_id)}'"
    if mark.kind == SNAPSHOT and resource["volume_id"] != _volume_id(mark):
        return f"it is not a snapshot of volume {_volume_id(mark)}"
    return None


def _why_not_volume(cinder: Cinder, volume: Mapping[str, Any], mark: Mark) -> str | None:
    copied = bool(volume.get("source_volid"))
    # The tenant's own volumes: each can have any name, and can be a copy.
    if mark.kind == KEPT:
        return None
    if mark.kind == CLAIMED:
        if not (copied or volume.get("snapshot_id")) or _has_safety_snapshot(cinder, volume, mark):
            return None
        return "it is a copy, and has no safety snapshot of that run"
    if copied:
        return f"it is a copy of volume {volume['source_volid']}"
    sign = alive_at(volume)
    if sign is not None and sign < utc(volume["created_at"]) - _CLOCKS:
        return "it carries a run's sign of life from before it existed"
    snapshot_id = volume.get("snapshot_id")
    own_id = volume["metadata"].get(ID_KEY)
    if own_id not in (None, volume["id"]):
        return f"its metadata is that of volume {own_id}"
    if mark.kind in (TEMPORARY, SAFETY_VOLUME):
        if volume["name"] != temporary_name(mark.run_id):
            return f"its name is not '{temporary_name(mark.run_id)}'"
        if not snapshot_id:
            return "it is not made from a snapshot"
    if not snapshot_id:
        return None
    snapshot = cinder.snapshots.existing(str(snapshot_id))
    if snapshot is None:
        # The run's own snapshot outlives the volumes that a restore makes from it.
        return None if mark.kind == TEMPORARY else "the snapshot that it is made from is gone"
    if not _is_snapshot_of_run(snapshot, mark):
        return f"it is made from snapshot {snapshot_id}, which is not that run's"
    return None


def _is_snapshot_of_run(snapshot: Resource, mark: Mark) -> bool:
    """Whether volflow has made this snapshot to make the marked volume from it."""
    if mark.kind == TEMPORARY and snapshot["volume_id"] != _volume_id(mark):
        return False
    name = safety_name if mark.kind == SAFETY_VOLUME else temporary_name
    if snapshot["name"] != name(mark.run_id):
        return False
    if mark.kind == TEMPORARY and snapshot.get("group_snapshot_id"):
        # Its members have no metadata, but the description of the group snapshot.
        group = Mark.parse(snapshot["description"])
        return group is None or (group.run_id, group.kind) == (mark.run_id, GROUP_SNAPSHOT)
    kind = SAFETY if mark.kind == SAFETY_VOLUME else SNAPSHOT
    return tag_of(snapshot) == tag(mark.run_id, mark.volume_id, kind)


def _has_safety_snapshot(cinder: Cinder, volume: Mapping[str, Any], mark: Mark) -> bool:
    return bool(cinder.snapshots.tagged(volume["id"], tag(mark.run_id, mark.volume_id, SAFETY)))


def _volume_id(mark: Mark) -> str:
    return mark.volume_id.partition("@")[0]


def fits(cinder: Cinder, resource: Resource) -> bool:
    """Whether a resource has a mark, and can be what it says."""
    mark = Mark.of(resource)
    return mark is not None and why_not_ours(cinder, resource, mark) is None


def made_earlier(cinder: Cinder, found: Sequence[Resource]) -> Resource | None:
    """Of resources with the tag of a step, the one that an earlier attempt of it has made.

    Cinder can have made several, because volflow repeats a request if the answer is lost. The
    youngest one counts, see :func:`to_remove`.
    """
    fitting = [one for one in found if fits(cinder, one)]
    return max(fitting, key=lambda one: str(one["created_at"]), default=None)


def is_of_request(resource: Mapping[str, Any], entry: Entry, made_at: str | None = None) -> bool:
    """Whether Cinder can have made a resource for the request of a step.

    :param resource: one with the tag of the step
    :param made_at: when Cinder made the resource that the ledger names, if that is known better
    """
    made_at = made_at or entry.details.get(MADE_AT)
    return (
        entry.resource_id in (None, resource["id"])
        or bool(entry.details.get(UNANSWERED))
        or (made_at is not None and str(resource["created_at"]) <= made_at)
    )


def to_remove(cinder: Cinder, found: Sequence[Resource], entry: Entry) -> Resources:
    """What to remove of the resources with the tag of a step.

    With an id in the ledger it is that resource, and those that fit and are not younger: Cinder
    made them for the same request. A copy that somebody else has made is younger. But what Cinder
    makes late, for a request that it did not answer in time, is younger too: after such a request,
    and without an id, because a process was killed before it had Cinder's answer, it is what fits.

    :param entry: the step's entry in the ledger
    """
    known = entry.resource_id
    named = [one for one in found if one["id"] == known]
    made_at = str(named[0]["created_at"]) if named else None
    return named + [
        one
        for one in found
        if one["id"] != known and is_of_request(one, entry, made_at) and fits(cinder, one)
    ]
