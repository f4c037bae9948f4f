"""What a run takes of the quota of a project, and how many volumes it allows in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

from volflow.cloud.cinder import Cinder
from volflow.cloud.quotas import Quota, counted
from volflow.cloud.volumes import Volume
from volflow.errors import QuotaError


class VolumeSize(NamedTuple):
    """A volume as quotas count it."""

    gib: int
    volume_type: str | None

    @classmethod
    def of(cls, volume: Mapping[str, Any]) -> Self:
        """The size and type of a volume as Cinder shows it."""
        return cls(int(volume["size"]), volume.get("volume_type"))


@dataclass(frozen=True)
class QuotaUse:
    """What a run takes of the quota of one project, at most.

    :ivar left: the free quota before the run
    """

    project_id: str
    volumes: int
    snapshots: int
    gigabytes: int
    left: Quota

    @property
    def fits(self) -> bool:
        """Whether the quota is large enough."""
        return self.left.holds(self.volumes, self.snapshots, self.gigabytes)

    def __str__(self) -> str:
        def of(need: int, left: int | None, what: str) -> str:
            return counted(need, what) + (f" of {left} left" if left is not None else "")

        return (
            f"{of(self.volumes, self.left.volumes, 'volume')}, "
            f"{of(self.snapshots, self.left.snapshots, 'snapshot')}, "
            f"{of(self.gigabytes, self.left.gigabytes, 'GiB')}"
        )


def by_type(left: Quota) -> Iterator[tuple[str | None, Quota]]:
    """The quota of all volumes, with None, and that of each volume type that has its own."""
    yield None, left
    yield from left.types.items()


def type_suffix(name: str | None) -> str:
    """What to put behind "quota of project X" in a message.

    :param name: the volume type, if the quota is that of a volume type
    """
    return f" for volume type '{name}'" if name else ""


def parallel_by_quota(
    cinder: Cinder, left: Quota, together: Sequence[Sequence[VolumeSize]], parallel: int
) -> int:
    """How many volumes of a project the quota allows in parallel.

    Each needs a temporary snapshot and a temporary volume of its own size; the quota counts both.
    Volumes that share a group snapshot need all their snapshots at the same time.

    :param left: the free quota of the project
    :param together: the volumes by the snapshot that they share; lists of one for the others
    :param parallel: at most this many
    :raises QuotaError: the quota does not hold what one of them needs
    """
    for count in range(min(parallel, sum(map(len, together))), 0, -1):
        uses = ((quota, temporary_use(together, count, name)) for name, quota in by_type(left))
        if all(quota.holds(*use) for quota, use in uses):
            return count
    for name, quota in by_type(left):
        use = temporary_use(together, 1, name)
        if not quota.holds(*use):
            raise _no_room(cinder, name, quota, *use[1:])
    raise AssertionError("one volume fits in each quota, but not in all of them")


def temporary_use(
    together: Sequence[Sequence[VolumeSize]], count: int, name: str | None = None
) -> tuple[int, int, int]:
    """The temporary volumes, snapshots and GiB that this many volumes in parallel take, at most.

    :param together: the volumes by the snapshot that they share
    :param count: the number of volumes in parallel
    :param name: count only volumes of this type, for its own quota
    """
    groups = [[one.gib for one in group if name in (None, one.volume_type)] for group in together]
    sizes = [size for group in groups for size in group]
    volumes = min(count, len(sizes))
    snapshots = sum(sorted(map(len, groups), reverse=True)[:count])
    of_snapshots = sum(sorted(map(sum, groups), reverse=True)[:count])
    return volumes, snapshots, of_snapshots + sum(sorted(sizes, reverse=True)[:count])


def volumes_without_room(
    cinder: Cinder, left: Quota, together: Sequence[Sequence[Volume]]
) -> dict[str, QuotaError]:
    """Find the volumes whose type has its own quota, with too little left for even one of them.

    :param left: the free quota of the project
    :param together: the volumes by the snapshot that they share
    :returns: why there is no room for a volume, by its id
    """
    found = {}
    for group in together:
        for volume in group:
            name = volume["volume_type"]
            alike = [int(one["size"]) for one in group if one["volume_type"] == name]
            use = len(alike), sum(alike) + int(volume["size"])
            if name in left.types and not left.types[name].holds(1, *use):
                found[str(volume["id"])] = _no_room(cinder, name, left.types[name], *use)
    return found


def _no_room(
    cinder: Cinder, name: str | None, left: Quota, snapshots: int, gigabytes: int
) -> QuotaError:
    what = "of even one volume" if snapshots == 1 else "of a group and a volume of it"
    needs = f"{counted(snapshots, 'snapshot')}, 1 volume and {gigabytes} GiB"
    return QuotaError(
        f"The quota of project {cinder.project_id}{type_suffix(name)} cannot hold the temporary "
        f"snapshot and volume {what}: they need {needs}; left: {left}. Request more quota, or "
        "free some."
    )


def check_new_volumes(cinder: Cinder, volumes: Sequence[VolumeSize]) -> None:
    """Make sure that the project's quota holds these new volumes.

    :raises QuotaError: the quota is too small
    """
    for name, left in by_type(cinder.quotas.left()):
        sizes = [one.gib for one in volumes if name in (None, one.volume_type)]
        if not left.holds(len(sizes), 0, sum(sizes)):
            raise QuotaError(
                f"The quota of project {cinder.project_id}{type_suffix(name)} cannot hold "
                f"{len(sizes)} new volume{'s' if len(sizes) > 1 else ''} of {sum(sizes)} GiB in "
                f"all; left: {replace(left, snapshots=None)}. Request more quota, or free some."
            )
