"""What a run that has not ended holds in Cinder, by the ledger. It needs no cloud."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from persistence import Entry
from volflow.results.request import Request

# The kinds in the ledger. Listings need them, and must not import the tasks.
_VOLUMES = frozenset({"volume", "target"})
_SNAPSHOTS = frozenset({"snapshot", "safety snapshot"})
_GROUP_SNAPSHOT = "group snapshot"
_ATTACHMENT = "attachment"


@dataclass(frozen=True)
class Holdings:
    """The temporary resources of a run that exist, or may exist.

    :ivar gib: the size of the volumes and snapshots together, in GiB; None if a size is not known
    """

    volumes: int = 0
    snapshots: int = 0
    attachments: int = 0
    gib: int | None = 0

    @classmethod
    def of(cls, request: Request, entries: Iterable[Entry]) -> Holdings:
        """
        :param entries: the open entries of the run's ledger
        """
        volumes: list[str] = []
        snapshots: list[str] = []
        attachments = 0
        for entry in entries:
            if entry.kind in _VOLUMES and not entry.details.get("kept"):
                volumes.append(entry.item)
            elif entry.kind in _SNAPSHOTS:
                snapshots.append(entry.item)
            elif entry.kind == _GROUP_SNAPSHOT:
                snapshots += request.groups.get(entry.item, ())
            elif entry.kind == _ATTACHMENT:
                attachments += 1
        sizes = [request.size_of(key) for key in (*volumes, *snapshots)]
        known = [size for size in sizes if size is not None]
        gib = sum(known) if len(known) == len(sizes) else None
        return cls(len(volumes), len(snapshots), attachments, gib)

    def __bool__(self) -> bool:
        return bool(self.volumes or self.snapshots or self.attachments)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)
