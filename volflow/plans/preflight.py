"""Checks before a run creates anything: they find what would only fail later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volflow.cloud.cinder import Cinder
from volflow.cloud.volumes import Volume, require_usable
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


def check_repositories_elsewhere(
    cinder: Cinder, connector: Connector, paths: Sequence[Path], volumes: Sequence[Volume]
) -> None:
    """Refuse a repository in a directory on one of the volumes to back up.

    :param paths: the directories of the repositories that are on this host
    :raises RepositoryError: a repository is on one of the volumes
    """
    path_on = {device: path for path in paths for device in devices_below(path)}
    for volume in volumes if path_on else ():
        # Cinder shows only administrators to which host a volume is attached.
        if not any(a.get("host_name") in (None, host_name()) for a in volume["attachments"]):
            continue
        for attachment in volume["attachments"]:
            try:
                connection = cinder.attachments.get(attachment["attachment_id"])["connection_info"]
            except ResourceNotFoundError:
                # Detached in the meantime.
                continue
            devices = path_on.keys() & set(connector.paths(connection)) if connection else ()
            for path in sorted(path_on[device] for device in devices):
                raise RepositoryError(
                    f"The repository {path} is stored on volume {volume['name'] or volume['id']} "
                    f"({volume['id']}) itself, and would be lost together with it. Use other "
                    "storage for the repository."
                )


def check_volume_can_be_created(cinder: Cinder, manifest: Manifest) -> None:
    """Make sure that this cloud has what a volume like the one of the backup needs.

    :raises ResourceNotFoundError: the volume type or the availability zone does not exist
    """
    wanted = manifest.volume
    if wanted["volume_type"]:
        try:
            cinder.types.find(wanted["volume_type"])
        except ResourceNotFoundError as error:
            raise ResourceNotFoundError(
                f"{error} Use --type-map {wanted['volume_type']}=TYPE to choose another type."
            ) from error
    zones = cinder.availability_zones.names()
    if wanted["availability_zone"] not in zones:
        raise ResourceNotFoundError(
            f"This cloud has no availability zone '{wanted['availability_zone']}'; it has: "
            f"{', '.join(zones)}. Use --az-map {wanted['availability_zone']}=ZONE to choose "
            "another zone."
        )


def check_map(option: str, olds: Iterable[str], names: set[str]) -> None:
    """Refuse to map a name that no backup has, because a misspelt name would have no effect.

    :param option: the option of the command line
    :param olds: the names to map
    :param names: the names that the backups have
    :raises UsageError: no backup has one of the names
    """
    for old in olds:
        if old not in names:
            raise UsageError(
                f"{option} {old}=...: none of the backups has '{old}'; they have: "
                f"{', '.join(sorted(names)) or 'none'}."
            )


def check_copy(cinder: Cinder, existing: Volume, manifest: Manifest) -> None:
    """Make sure that an attached volume can be copied, and the backup restored into the copy.

    :raises VolumeStateError: it is busy, encrypted or too small
    :raises QuotaError: the quota does not hold a snapshot of it and the copy
    """
    require_usable(existing, ("available", "in-use"))
    _check_fits(existing, manifest)
    parallel_by_quota(cinder, cinder.quotas.left(), [[VolumeSize.of(existing)]], 1)


def check_in_place(target: Volume, manifest: Manifest) -> None:
    """Make sure that a backup can be restored into an existing volume.

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
            f"{name} is read-only. Make it writable with 'openstack volume set --read-write "
            f"{target['id']}', or restore to a new volume with --new."
        )
    _check_fits(target, manifest)


def why_not_removable(cinder: Cinder, volume: Volume) -> str | None:
    """Why an old volume cannot be removed; None if it can: nothing uses it or depends on it."""
    if volume["status"] != "available" or volume["attachments"]:
        return f"it is '{volume['status']}'" + (", attached" if volume["attachments"] else "")
    if cinder.snapshots.list(volume["id"]):
        return "it has snapshots"
    if volume.get("group_id"):
        return f"it belongs to group {volume['group_id']}"
    return None


def _check_fits(target: Volume, manifest: Manifest) -> None:
    name = f"Volume {target['name'] or target['id']} ({target['id']})"
    if target["encrypted"]:
        raise VolumeStateError(
            f"{name} is encrypted by Cinder; volflow cannot restore into it yet."
        )
    if int(target["size"]) < manifest.size_gib:
        raise VolumeStateError(
            f"{name} has {target['size']} GiB, and the volume of the backup had "
            f"{manifest.size_gib} GiB: extend it to {manifest.size_gib} GiB, or restore to a new "
            "volume with --new, or to a directory with --to-path."
        )
