"""The marks that volflow puts on what it makes in Cinder, built and parsed.

Volumes and snapshots carry them as metadata. Groups and group snapshots have no metadata: there
the description is the tag. Runs that are stored, and clouds in which one was interrupted, have
these values: they never change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# Metadata key that marks everything that a run makes in Cinder. Its value is the tag.
TAG_KEY = "volflow"
# Metadata key that a live run sets on its volumes every few minutes, to the time in UTC. It is for
# those who cannot see the run's lease because they use another state database.
ALIVE_KEY = "volflow_alive"
# Metadata key of a new volume, with the volume's own id: a tool that copies the metadata makes it
# wrong, so it proves which volume volflow has made.
ID_KEY = "volflow_id"

# The kinds of volumes that carry a tag: one made from a snapshot, and deleted after the copy; one
# that a restore makes; one that existed before, while a restore overwrites it.
TEMPORARY, RESTORED, CLAIMED = "volume", "target", "claim"
# A new volume that belongs to the tenant but still carries a tag. Nobody who finds it, with or
# without the run's ledger, may delete it.
KEPT = "kept"

# The kinds of the other resources that carry a tag in Cinder.
SNAPSHOT, SAFETY, SAFETY_VOLUME = "snapshot", "safety snapshot", "safety volume"
GROUP, GROUP_SNAPSHOT = "group", "group snapshot"

_KINDS = frozenset(
    (TEMPORARY, RESTORED, CLAIMED, KEPT, SNAPSHOT, SAFETY, SAFETY_VOLUME, GROUP, GROUP_SNAPSHOT)
)
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# The volume's id has its project's behind it where several projects have a backup of it.
_TAG = re.compile(rf"({_UUID})/({_UUID}(?:@[\w.-]+)?)/([a-z ]+)", re.ASCII)


@dataclass(frozen=True)
class Mark:
    """The parts of a tag: ``<run id>/<volume id>/<kind>``.

    :ivar volume_id: id of the volume that is backed up, or that the backup is of; or of the group
    :ivar kind: the kind of the resource, as in the ledger
    """

    run_id: str
    volume_id: str
    kind: str

    @classmethod
    def parse(cls, tag: str | None) -> Mark | None:
        """Parse a tag in Cinder; None if volflow does not write such a tag.

        A tag proves nothing alone: see :mod:`volflow.cloud.ownership`.
        """
        found = _TAG.fullmatch(tag or "")
        return cls(*found.groups()) if found and found[3] in _KINDS else None

    @classmethod
    def recorded(cls, tag: str) -> Mark:
        """The parts of a tag in the ledger, which only volflow writes."""
        run_id, volume_id, kind = tag.split("/")
        return cls(run_id, volume_id, kind)

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> Mark | None:
        """The mark of a volume or snapshot, as the API shows it; None if it has none."""
        return cls.parse(tag_of(resource))

    def __str__(self) -> str:
        """The tag, as in Cinder and the ledger."""
        return tag(self.run_id, self.volume_id, self.kind)


def tag(run_id: str, volume_id: str, kind: str) -> str:
    """The tag of the one resource of this kind that a run makes for a volume or group."""
    return f"{run_id}/{volume_id}/{kind}"


def tag_of(resource: Mapping[str, Any]) -> str | None:
    """The tag in the metadata of a volume or snapshot, also if it is not a valid tag."""
    tag = (resource.get("metadata") or {}).get(TAG_KEY)
    return None if tag is None else str(tag)


def foreign_value(resource: Mapping[str, Any]) -> str | None:
    """What somebody else has written under volflow's metadata key; None if nobody has."""
    return None if Mark.of(resource) else tag_of(resource)


def kind_of(resource: Mapping[str, Any]) -> str:
    """The kind in the tag of a volume or snapshot; empty if it has no tag of a run."""
    mark = Mark.of(resource)
    return mark.kind if mark else ""


def is_described(resource: Mapping[str, Any]) -> bool:
    """Whether the description of a group or group snapshot is a run's tag."""
    mark = Mark.parse(resource["description"])
    return mark is not None and mark.kind in (GROUP, GROUP_SNAPSHOT)


def alive(moment: datetime) -> dict[str, str]:
    """The metadata that shows that a run is alive at this moment."""
    return {ALIVE_KEY: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")}


def utc(shown: object) -> datetime:
    """A time as Cinder shows it, which is UTC without saying so."""
    return datetime.fromisoformat(str(shown)).replace(tzinfo=UTC)


def alive_at(resource: Mapping[str, Any]) -> datetime | None:
    """When the run of a volume last marked it as alive, in UTC; None also for other texts."""
    try:
        return last_alive(resource)
    except ValueError:
        return None


def last_alive(resource: Mapping[str, Any]) -> datetime | None:
    """When the run of a volume last marked it as alive, in UTC.

    :raises ValueError: somebody else has written the metadata
    """
    text = resource["metadata"].get(ALIVE_KEY)
    return datetime.fromisoformat(str(text)).replace(tzinfo=UTC) if text else None
