"""What a run takes of the quotas of projects, and how many volumes at a time they allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from volflow.cloud.cinder import Cinder, Quota
from volflow.errors import QuotaError
from volflow.plans.selection import Volume


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


def each(left: Quota) -> Iterator[tuple[str | None, Quota]]:
    """The quota of all volumes, without a name, and that of each type that has one."""
    yield None, left
    yield from left.types.items()


def of_type(name: str | None) -> str:
    """How a message goes on that tells of a quota."""
    return f" for volume type '{name}'" if name else ""


def parallel_by_quota(
    cinder: Cinder, left: Quota, together: Sequence[Sequence[VolumeSize]], parallel: int
) -> int:
    """How many volumes can be worked on side by side in a project.

    Each needs a snapshot and a volume of its own size for a while; both count. Volumes that are
    snapshotted together need all their snapshots at once.

    :param left: what is left of the project's quota
    :param together: the volumes that share a snapshot; a list of one else
    :param parallel: as many at most
    :raises QuotaError: the quota does not hold what one of them needs
    """
    for count in range(min(parallel, sum(map(len, together))), 0, -1):
        takes = ((quota, needed(together, count, name)) for name, quota in each(left))
        if all(quota.holds(*taken) for quota, taken in takes):
            return count
    for name, quota in each(left):
        taken = needed(together, 1, name)
        if not quota.holds(*taken):
            raise _no_room(cinder, name, quota, *taken[1:])
    raise AssertionError("what holds each of the quotas holds all of them")


def needed(
    together: Sequence[Sequence[VolumeSize]], count: int, name: str | None = None
) -> tuple[int, int, int]:
    """The volumes, snapshots and GiB that it takes, at most, to work on so many at a time.

    :param name: of the volume type whose own quota is meant
    """
    groups = [[one.gib for one in group if name in (None, one.volume_type)] for group in together]
    sizes = [size for group in groups for size in group]
    volumes = min(count, len(sizes))
    snapshots = sum(sorted(map(len, groups), reverse=True)[:count])
    of_snapshots = sum(sorted(map(sum, groups), reverse=True)[:count])
    return volumes, snapshots, of_snapshots + sum(sorted(sizes, reverse=True)[:count])


def no_room_for(
    cinder: Cinder, left: Quota, together: Sequence[Sequence[Volume]]
) -> dict[str, QuotaError]:
    """The volumes, by id, whose type has a quota of its own that holds not even one of them.

    :param left: what is left of the project's quota
    :param together: the volumes that share a snapshot
    """
    found = {}
    for group in together:
        for volume in group:
            name = volume["volume_type"]
            alike = [int(one["size"]) for one in group if one["volume_type"] == name]
            taken = len(alike), sum(alike) + int(volume["size"])
            if name in left.types and not left.types[name].holds(1, *taken):
                found[str(volume["id"])] = _no_room(cinder, name, left.types[name], *taken)
    return found


def _no_room(
    cinder: Cinder, name: str | None, left: Quota, snapshots: int, gigabytes: int
) -> QuotaError:
    one = snapshots == 1
    what = "of even one volume" if one else "of a group and a volume of it"
    takes = f"{snapshots} snapshot{'' if one else 's'}, 1 volume and {gigabytes} GiB"
    return QuotaError(
        f"The quota of project {cinder.project_id}{of_type(name)} cannot hold the temporary "
        f"snapshot and volume {what}: it takes {takes}, and there is left: {left}. Ask for more, "
        "or make room."
    )


def new_volumes_fit(cinder: Cinder, volumes: Sequence[VolumeSize]) -> None:
    """Make sure that a project's quota holds these new volumes.

    :raises QuotaError: it does not
    """
    for name, left in each(cinder.quota_left()):
        sizes = [one.gib for one in volumes if name in (None, one.volume_type)]
        if not left.holds(len(sizes), 0, sum(sizes)):
            raise QuotaError(
                f"The quota of project {cinder.project_id}{of_type(name)} cannot hold "
                f"{len(sizes)} new volume{'s' if len(sizes) > 1 else ''} of {sum(sizes)} GiB in "
                f"all; there is left: {replace(left, snapshots=None)}. Ask for more, or make room."
            )
