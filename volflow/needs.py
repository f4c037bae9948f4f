"""What a run takes of the quotas of projects, and how many volumes at a time they allow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volflow.cinder import Cinder, Quota
from volflow.errors import QuotaError


@dataclass(frozen=True)
class Need:
    """What is taken of the quota of one project, at most.

    :ivar left: what there is
    """

    project_id: str
    volumes: int
    snapshots: int
    gigabytes: int
    left: Quota

    @property
    def held(self) -> bool:
        """Whether the quota holds it."""
        pairs = (
            (self.volumes, self.left.volumes),
            (self.snapshots, self.left.snapshots),
            (self.gigabytes, self.left.gigabytes),
        )
        return all(left is None or need <= left for need, left in pairs)

    def __str__(self) -> str:
        def of(need: int, left: int | None, what: str) -> str:
            return f"{need} {what}" + (f" of {left} left" if left is not None else "")

        return (
            f"{of(self.volumes, self.left.volumes, 'volumes')}, "
            f"{of(self.snapshots, self.left.snapshots, 'snapshots')}, "
            f"{of(self.gigabytes, self.left.gigabytes, 'GiB')}"
        )


def for_restore(
    cinder: Cinder, stay: Sequence[int], snapshots: Sequence[int], parallel: int
) -> tuple[int, Need]:
    """How many volumes of a project can be restored side by side, and what that takes.

    :param stay: sizes in GiB of the volumes that are made
    :param snapshots: sizes of those of which a snapshot is taken for a while
    :param parallel: as many at most
    :raises QuotaError: not even one can be
    """
    left, sizes = cinder.quota_left(), sorted(snapshots, reverse=True)
    for count in range(parallel, 0, -1):
        taken = sizes[:count]
        total = sum(stay) + sum(taken)
        need = Need(str(cinder.project_id), len(stay), len(taken), total, left)
        if need.held:
            return count, need
    raise QuotaError(
        f"The quota of project {cinder.project_id} cannot hold what the restore takes: {need}. "
        "Ask for more, or make room."
    )


def free_bytes(path: Path | None) -> int | None:
    """The room on the file system that a directory is on, or will be on; None for elsewhere."""
    if path is None:
        return None
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
