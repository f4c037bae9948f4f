"""What is looked at before a run makes anything: all that would only fail later."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volflow.cloud.cinder import Cinder, Quota, require_usable
from volflow.errors import (
    QuotaError,
    RepositoryError,
    ResourceNotFoundError,
    UsageError,
    VolumeStateError,
)
from volflow.host.identity import host_name
from volflow.plans.quota import VolumeSize, each, of_type
from volflow.repositories.manifest import Manifest

if TYPE_CHECKING:
    from volflow.host.connector import Connector

Volume = dict[str, Any]


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


def repositories_apart(
    cinder: Cinder, connector: Connector, paths: Sequence[Path], wanted: Sequence[Volume]
) -> None:
    """Refuse a repository that is a directory on one of the volumes.

    :param paths: the directories of the repositories that are on this host
    :raises RepositoryError: naming the volume
    """
    below = {device: path for path in paths for device in _devices_below(path)}
    for volume in wanted if below else ():
        # To which host a volume is attached, Cinder tells administrators alone.
        if not any(a.get("host_name") in (None, host_name()) for a in volume["attachments"]):
            continue
        for attachment in volume["attachments"]:
            try:
                connection = cinder.attachment(attachment["attachment_id"])["connection_info"]
            except ResourceNotFoundError:
                # Detached since the volume was looked at.
                continue
            on = below.keys() & set(connector.paths(connection)) if connection else ()
            for path in sorted(below[device] for device in on):
                raise RepositoryError(
                    f"The repository {path} lies on volume {volume['name'] or volume['id']} "
                    f"({volume['id']}) itself: it would be lost together with what it protects. "
                    "Choose a place on other storage."
                )


def _devices_below(path: Path) -> set[str]:
    """The block device of the file system that a path is on, and all that it is made of."""
    while not path.exists():
        path = path.parent
    number = path.stat().st_dev
    start = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    pending, found = [start.resolve()] if start.exists() else [], set()
    while pending:
        device = pending.pop()
        found.add(f"/dev/{device.name}")
        if (device / "partition").exists():
            pending.append(device.parent)
        pending += [slave.resolve() for slave in (device / "slaves").glob("*")]
    return found


def new_volume(cinder: Cinder, manifest: Manifest) -> None:
    """Make sure that this cloud can make a volume like the one of the backup.

    :raises ResourceNotFoundError: it lacks the volume type or the availability zone
    """
    was = manifest.volume
    if was["volume_type"]:
        try:
            cinder.find_volume_type(was["volume_type"])
        except ResourceNotFoundError as error:
            raise ResourceNotFoundError(
                f"{error} --type-map {was['volume_type']}=TYPE takes another one."
            ) from error
    zones = cinder.availability_zones()
    if was["availability_zone"] not in zones:
        raise ResourceNotFoundError(
            f"This cloud has no availability zone '{was['availability_zone']}'; it has: "
            f"{', '.join(zones)}. --az-map {was['availability_zone']}=ZONE takes another one."
        )


def map_matches(option: str, olds: Iterable[str], names: set[str]) -> None:
    """Refuse to map what no backup has: a name that is misspelt would map nothing in silence.

    :param option: how the mapping is asked for
    :param olds: what is to become something else
    :param names: what there is
    :raises UsageError: naming what there is
    """
    for old in olds:
        if old not in names:
            there = ", ".join(sorted(names)) or "none"
            raise UsageError(
                f"{option} {old}=...: none of the backups has '{old}'; what they have: {there}."
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


def copy_of(cinder: Cinder, existing: Volume, manifest: Manifest) -> None:
    """Make sure that a volume that is attached can be copied, and the copy restored into.

    :raises VolumeStateError: it is busy, encrypted or too small
    :raises QuotaError: the quota does not hold a snapshot of it and the copy
    """
    require_usable(existing, ("available", "in-use"))
    _fits(existing, manifest)
    parallel_by_quota(cinder, cinder.quota_left(), [[VolumeSize.of(existing)]], 1)


def existing_target(target: Volume, manifest: Manifest) -> None:
    """Make sure that a volume can be restored into.

    :raises VolumeStateError: it is attached, busy, read-only, encrypted or too small
    """
    name = f"Volume {target['name'] or target['id']} ({target['id']})"
    if target["attachments"] or target["status"] == "in-use":
        raise VolumeStateError(
            f"{name} is attached: writing to it would corrupt what its server sees. Detach it "
            "first, restore to a new volume with --new, or into a copy of it with "
            "--recreate-vol-on-error."
        )
    require_usable(target, ("available",))
    if target["metadata"].get("readonly") == "True":
        raise VolumeStateError(
            f"{name} is read-only. 'openstack volume set --read-write {target['id']}' changes "
            "that; or restore to a new volume with --new."
        )
    _fits(target, manifest)


def in_the_way(cinder: Cinder, volume: Volume) -> str | None:
    """Why an old volume cannot be removed, if so: it is in use, or something hangs on it."""
    if volume["status"] != "available" or volume["attachments"]:
        return f"it is '{volume['status']}'" + (", attached" if volume["attachments"] else "")
    if cinder.snapshots(volume["id"]):
        return "it has snapshots"
    if volume.get("group_id"):
        return f"it belongs to group {volume['group_id']}"
    return None


def _fits(target: Volume, manifest: Manifest) -> None:
    name = f"Volume {target['name'] or target['id']} ({target['id']})"
    if target["encrypted"]:
        raise VolumeStateError(f"{name} is encrypted by Cinder; volflow cannot fill it yet.")
    if int(target["size"]) < manifest.size_gib:
        raise VolumeStateError(
            f"{name} has {target['size']} GiB, and the backup is of {manifest.size_gib} GiB: "
            "extend it first."
        )
