"""What is looked at before a run makes anything: all that would only fail later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volflow.cloud.cinder import Cinder, require_usable
from volflow.errors import (
    RepositoryError,
    ResourceNotFoundError,
    UsageError,
    VolumeStateError,
)
from volflow.host.devices import devices_below
from volflow.host.identity import host_name
from volflow.plans.quota import VolumeSize, parallel_by_quota
from volflow.repositories.manifest import Manifest

if TYPE_CHECKING:
    from volflow.host.connector import Connector

Volume = dict[str, Any]


def repositories_apart(
    cinder: Cinder, connector: Connector, paths: Sequence[Path], wanted: Sequence[Volume]
) -> None:
    """Refuse a repository that is a directory on one of the volumes.

    :param paths: the directories of the repositories that are on this host
    :raises RepositoryError: naming the volume
    """
    below = {device: path for path in paths for device in devices_below(path)}
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
