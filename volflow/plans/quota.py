"""What a run takes of the quotas of projects, and how many volumes at a time they allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from volflow.cloud.cinder import Cinder, Quota
from volflow.errors import QuotaError


class VolumeSize(NamedTuple):
    """A volume that is there or will be, as quotas count it."""

    gib: int
    volume_type: str | None

    @classmethod
    def of(cls, volume: Mapping[str, Any]) -> Self:
        """The same of a volume as Cinder shows it."""
        return cls(int(volume["size"]), volume.get("volume_type"))


@dataclass(frozen=True)
class QuotaUse:
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
        return self.left.holds(self.volumes, self.snapshots, self.gigabytes)

    def __str__(self) -> str:
        def of(need: int, left: int | None, what: str) -> str:
            return f"{need} {what}" + (f" of {left} left" if left is not None else "")

        return (
            f"{of(self.volumes, self.left.volumes, 'volumes')}, "
            f"{of(self.snapshots, self.left.snapshots, 'snapshots')}, "
            f"{of(self.gigabytes, self.left.gigabytes, 'GiB')}"
        )


def for_restore(
    cinder: Cinder, stay: Sequence[VolumeSize], snapshots: Sequence[VolumeSize], parallel: int
) -> tuple[int, QuotaUse]:
    """How many volumes of a project can be restored side by side, and what that takes.

    :param stay: the volumes that are made
    :param snapshots: those of which a snapshot is taken for a while
    :param parallel: as many at most
    :raises QuotaError: not even one can be
    """
    left, project_id = cinder.quota_left(), str(cinder.project_id)
    for count in range(parallel, 0, -1):
        needs = list(_of_restore(project_id, left, stay, snapshots, count))
        if all(need.held for _, need in needs):
            return count, needs[0][1]
    whose, short = next((whose, need) for whose, need in needs if not need.held)
    raise QuotaError(
        f"The quota of project {project_id}{whose} cannot hold what the restore takes: {short}. "
        "Ask for more, or make room."
    )


def _of_restore(
    project_id: str,
    left: Quota,
    stay: Sequence[VolumeSize],
    snapshots: Sequence[VolumeSize],
    count: int,
) -> Iterator[tuple[str, QuotaUse]]:
    """What is taken of the quota of all volumes, and then of each type's own."""
    for name, quota in each(left):
        made = [one.gib for one in stay if name in (None, one.volume_type)]
        sizes = [one.gib for one in snapshots if name in (None, one.volume_type)]
        taken = sorted(sizes, reverse=True)[:count]
        total = sum(made) + sum(taken)
        yield of_type(name), QuotaUse(project_id, len(made), len(taken), total, quota)


def each(left: Quota) -> Iterator[tuple[str | None, Quota]]:
    """The quota of all volumes, without a name, and that of each type that has one."""
    yield None, left
    yield from left.types.items()


def of_type(name: str | None) -> str:
    """How a message goes on that tells of a quota."""
    return f" for volume type '{name}'" if name else ""
