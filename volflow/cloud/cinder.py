"""Cinder, as volflow uses it: the Block Storage API v3 with what its errors mean.

Resources are plain dictionaries, as the API shows them (Block Storage API reference, v3).
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cinderclient import api_versions, client, exceptions
from keystoneauth1 import exceptions as auth_exceptions
from keystoneauth1.session import Session

from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.cloud.wait import Resource, Wait, existing
from volflow.errors import (
    CloudError,
    QuotaError,
    ResourceNotFoundError,
    UsageError,
    VolumeStateError,
)

LOG = logging.getLogger(__name__)

# Attachments came with 3.27, their completion with 3.44, revert-to-snapshot with 3.40.
OLDEST = "3.44"
NEWEST = "3.71"
# From 3.66 on a snapshot of a volume in use needs no force flag.
FORCE_GONE = api_versions.APIVersion("3.66")

# What an API, or a proxy before it, answers in a trouble that may pass, and how often to try again.
_TRANSIENT = (500, 502, 503, 504)
_RETRIES = 3


@dataclass(frozen=True)
class Quota:
    """What is left of a project's quota; None where there is no limit. Sizes are GiB.

    :ivar types: what is left for the volume types that have limits of their own, by their names
    """

    volumes: int | None
    snapshots: int | None
    gigabytes: int | None
    types: Mapping[str, Quota] = field(default_factory=dict)

    def holds(self, volumes: int, snapshots: int, gigabytes: int) -> bool:
        """Whether there is room for these."""
        pairs = (
            (volumes, self.volumes),
            (snapshots, self.snapshots),
            (gigabytes, self.gigabytes),
        )
        return all(left is None or need <= left for need, left in pairs)

    def __str__(self) -> str:
        of_each = {"volumes": self.volumes, "snapshots": self.snapshots, "GiB": self.gigabytes}
        return ", ".join(f"{n} {name}" for name, n in of_each.items() if n is not None)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what the client libraries raise into volflow's errors, which say what to do."""
    try:
        yield
    except exceptions.NotFound as error:
        raise ResourceNotFoundError(f"{doing}: not found in Cinder ({error}).") from error
    except exceptions.OverLimit as error:
        raise QuotaError(f"{doing}: over the quota: {error}") from error
    except (exceptions.Forbidden, auth_exceptions.Forbidden) as error:
        raise CloudError(
            f"{doing}: not permitted. The user needs a role in the project that Cinder's policy "
            f"allows this to: {error}"
        ) from error
    except (exceptions.Unauthorized, auth_exceptions.Unauthorized) as error:
        raise CloudError(
            f"{doing}: the cloud refused the login. Check the user, password and project in "
            f"clouds.yaml or OS_*: {error}"
        ) from error
    except auth_exceptions.ConnectFailure as error:
        raise CloudError(
            f"{doing}: the API cannot be reached. Check the auth URL, the endpoint and the "
            f"network: {error}"
        ) from error
    except (auth_exceptions.ClientException, exceptions.ClientException) as error:
        raise CloudError(f"{doing}: {error}") from error
    except (
        exceptions.UnsupportedVersion,
        exceptions.VersionNotFoundForAPIMethod,
        exceptions.EndpointNotFound,
    ) as error:
        raise CloudError(f"{doing}: {error}") from error


class Cinder:
    """The Block Storage API of one cloud, in one project.

    :param client: python-cinderclient for API version ``version``
    :param project_id: the project of the login, where it has one
    :param wait: how to wait for a resource to change its state
    :param stopping: set to end the waits for something to become ready; waits for something to
        be gone go on, because undoing is never interrupted
    """

    def __init__(
        self,
        client: Any,
        *,
        project_id: str | None,
        version: api_versions.APIVersion,
        wait: Wait,
        stopping: threading.Event | None = None,
    ) -> None:
        self._client = client
        self.project_id = project_id
        self.version = version
        self._wait = wait
        self._stopping = stopping
        self._stopping_gone: threading.Event | None = None

    @classmethod
    def connect(
        cls,
        session: Session,
        *,
        wait: Wait,
        region_name: str | None = None,
        interface: str = "public",
        stopping: threading.Event | None = None,
    ) -> Cinder:
        """Find Cinder by an authenticated session, which renews its own token.

        :raises CloudError: the API cannot be reached, refuses the login, or is older than 3.44
        """
        where = {
            "session": session,
            "region_name": region_name,
            "interface": interface,
            # A request that was done all the same may be sent again: what it made carries its
            # tag, and all that carries it is found.
            "connect_retries": _RETRIES,
            "status_code_retries": _RETRIES,
            "retriable_status_codes": _TRANSIENT,
        }
        with translated("Talking to Cinder"):
            # Forces the login now, so that a wrong password is not taken for an old API.
            session.get_auth_headers()
            found = api_versions.discover_version(
                client.Client("3.0", **where), api_versions.APIVersion(NEWEST)
            )
            if found < api_versions.APIVersion(OLDEST):
                raise CloudError(
                    f"This Cinder speaks API version {found.get_string()} at most; volflow needs "
                    f"{OLDEST} (Rocky) or newer."
                )
            return cls(
                client.Client(found.get_string(), **where),
                project_id=session.get_project_id(),
                version=found,
                wait=wait,
                stopping=stopping,
            )

    def interruptible(self) -> Cinder:
        """The same, whose waits for something to be gone end too when the run is to stop.

        It is for what is removed on the way forward, which a resume repeats.
        """
        other = copy.copy(self)
        other._stopping_gone = self._stopping
        return other

    # Volumes

    def volume(self, volume_id: str) -> Resource:
        """The volume of that id.

        :raises ResourceNotFoundError: there is none, and only then
        """
        with translated(f"Volume {volume_id}"):
            return self._plain(self._client.volumes.get(volume_id))

    def find_volume(self, name_or_id: str) -> Resource:
        """The volume of that id or, if there is none, of that name.

        :raises ResourceNotFoundError: there is none
        :raises UsageError: several have that name, or it is empty
        """
        if not name_or_id:
            # A name that is asked for by nothing is that of every volume, to the API.
            raise UsageError("An empty name is that of no volume; was a variable not set?")
        try:
            return self.volume(name_or_id)
        except ResourceNotFoundError:
            with translated(f"Looking for volume '{name_or_id}'"):
                named = self._client.volumes.list(search_opts={"name": name_or_id})
        volumes = [self._plain(v) for v in named if v.name == name_or_id]
        if not volumes:
            raise ResourceNotFoundError(
                f"No volume has the id or name '{name_or_id}' in this project. "
                "'openstack volume list' shows those that there are."
            )
        if len(volumes) > 1:
            ids = ", ".join(sorted(v["id"] for v in volumes))
            raise UsageError(f"{len(volumes)} volumes are named '{name_or_id}'; give an id: {ids}")
        return volumes[0]

    def volumes(self, *, all_tenants: bool = False) -> list[Resource]:
        """All volumes of the project, or of all projects.

        :raises CloudError: this user may not see the volumes of other projects
        """
        options = {"all_tenants": 1} if all_tenants else None
        with translated("Listing volumes"):
            found = [
                self._plain(volume)
                for volume in whole(lambda: self._client.volumes.list(search_opts=options))
            ]
        if all_tenants:
            self._require_all(found)
        return found

    def require_all_tenants(self) -> None:
        """Make sure that this user may see the volumes of all projects.

        :raises CloudError: Cinder takes it for no administrator
        """
        with translated("Listing volumes"):
            one = self._client.volumes.list(search_opts={"all_tenants": 1}, limit=1)
        self._require_all([self._plain(volume) for volume in one])

    def _require_all(self, found: Sequence[Resource]) -> None:
        if not self._sees_all(found):
            raise CloudError(
                "The volumes of all projects were asked for, and this user may see those of "
                f"project {self.project_id} only: Cinder grants more to administrators. Use "
                "--all, or log in as one of them."
            )

    def _sees_all(self, found: Sequence[Resource]) -> bool:
        """Whether a list of all projects' volumes is one.

        Cinder answers one who may not ask for it with the volumes of the project alone, and
        nothing in the answer says so. But it shows this field to whom it takes for an
        administrator, and to nobody else.
        """
        if found:
            return any("migration_status" in volume for volume in found)
        try:
            with translated("Listing services"):
                self._client.services.list()
        except CloudError:
            return False
        return True

    def group_volumes(self, group_id: str) -> list[Resource]:
        """The volumes of a group, which may be another project's where one sees that."""
        options = {"all_tenants": 1, "group_id": group_id}
        with translated(f"Listing the volumes of group {group_id}"):
            found = self._client.volumes.list(search_opts=options)
        # The filter is the server's; a cloud whose administrator has disabled it sends all.
        return [v for v in map(self._plain, found) if v.get("group_id") == group_id]

    def volumes_tagged(self, tag: str) -> list[Resource]:
        """The volumes that carry this tag."""
        with translated("Looking for volumes of this run"):
            found = self._client.volumes.list(search_opts={"metadata": {TAG_KEY: tag}})
        # The filter is the server's; a cloud whose administrator has disabled it sends all.
        return [v for v in map(self._plain, found) if tag_of(v) == tag]

    def all_tagged(self) -> list[Resource]:
        """The volumes and snapshots of this project that any run has marked as its own."""
        with translated("Looking for what runs have made"):
            found = [
                *whole(self._client.volumes.list),
                *whole(self._client.volume_snapshots.list),
            ]
        return [r for r in map(self._plain, found) if tag_of(r)]

    def create_volume(self, **properties: Any) -> Resource:
        """Ask for a volume; the arguments are the API's (``size`` in GiB). Does not wait."""
        with translated("Creating a volume"):
            return self._plain(self._client.volumes.create(**properties))

    def existing_volume(self, volume_id: str) -> Resource | None:
        """The volume, or None if it is gone; a 404 is believed when it comes twice."""
        return existing(lambda: self.volume(volume_id))

    def wait_volume(
        self,
        volume_id: str,
        ready: Collection[str] = ("available",),
        what: str = "Volume",
        *,
        cleaning: bool = False,
    ) -> Resource:
        """Wait until the volume is in one of these states.

        :param cleaning: this is part of cleaning up, and not to be interrupted
        """
        size = int(self.volume(volume_id)["size"])
        return self._wait.until(
            lambda: self.volume(volume_id),
            ready,
            what=f"{what} {volume_id}",
            size_gib=size,
            reason=self.last_message,
            stopping=None if cleaning else self._stopping,
        )

    def delete_volume(self, volume_id: str) -> None:
        """Delete the volume and wait until it is gone. One that is gone already is fine."""
        found = self.existing_volume(volume_id)
        self.delete(
            f"volume {volume_id}",
            lambda: self._client.volumes.delete(volume_id),
            lambda: self.volume(volume_id),
            size_gib=int(found["size"]) if found else 0,
        )

    def update_volume(self, volume_id: str, **fields: Any) -> None:
        """Set the name or description."""
        with translated(f"Updating volume {volume_id}"):
            self._client.volumes.update(volume_id, **fields)

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        with translated(f"Setting metadata of volume {volume_id}"):
            self._client.volumes.set_metadata(volume_id, dict(metadata))

    def delete_metadata(self, volume_id: str, keys: Collection[str]) -> None:
        """Remove these keys; one that is not there is fine."""
        present = [key for key in keys if key in self.volume(volume_id)["metadata"]]
        with translated(f"Removing metadata of volume {volume_id}"):
            self._client.volumes.delete_metadata(volume_id, present)

    def set_bootable(self, volume_id: str, bootable: bool) -> None:
        with translated(f"Setting volume {volume_id} bootable"):
            self._client.volumes.set_bootable(volume_id, bootable)

    def set_image_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        with translated(f"Setting image metadata of volume {volume_id}"):
            self._client.volumes.set_image_metadata(volume_id, dict(metadata))

    def delete_image_metadata(self, volume_id: str, keys: Collection[str]) -> None:
        with translated(f"Removing image metadata of volume {volume_id}"):
            self._client.volumes.delete_image_metadata(volume_id, list(keys))

    def set_readonly(self, volume_id: str, readonly: bool) -> None:
        with translated(f"Setting volume {volume_id} read-only"):
            self._client.volumes.update_readonly_flag(volume_id, readonly)

    # Snapshots

    def snapshot(self, snapshot_id: str) -> Resource:
        with translated(f"Snapshot {snapshot_id}"):
            return self._plain(self._client.volume_snapshots.get(snapshot_id))

    def snapshots(self, volume_id: str) -> list[Resource]:
        """The snapshots of a volume, the newest first."""
        with translated(f"Listing snapshots of volume {volume_id}"):
            found = self._client.volume_snapshots.list(search_opts={"volume_id": volume_id})
        mine = [s for s in map(self._plain, found) if s["volume_id"] == volume_id]
        return sorted(mine, key=lambda s: str(s["created_at"]), reverse=True)

    def snapshots_tagged(self, volume_id: str, tag: str) -> list[Resource]:
        """The snapshots of a volume that carry this tag."""
        return [s for s in self.snapshots(volume_id) if tag_of(s) == tag]

    def create_snapshot(
        self, volume_id: str, name: str, description: str, metadata: Mapping[str, str]
    ) -> Resource:
        """Ask for a snapshot of the volume, in use or not. Does not wait."""
        force = {} if self.version >= FORCE_GONE else {"force": True}
        with translated(f"Creating a snapshot of volume {volume_id}"):
            return self._plain(
                self._client.volume_snapshots.create(
                    volume_id,
                    name=name,
                    description=description,
                    metadata=dict(metadata),
                    **force,
                )
            )

    def wait_snapshot(self, snapshot_id: str) -> Resource:
        """Wait until the snapshot is available."""
        size = int(self.snapshot(snapshot_id)["size"])
        return self._wait.until(
            lambda: self.snapshot(snapshot_id),
            ("available",),
            what=f"Snapshot {snapshot_id}",
            size_gib=size,
            reason=self.last_message,
            stopping=self._stopping,
        )

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete the snapshot and wait until it is gone. One that is gone already is fine."""
        found = existing(lambda: self.snapshot(snapshot_id))
        self.delete(
            f"snapshot {snapshot_id}",
            lambda: self._client.volume_snapshots.delete(snapshot_id),
            lambda: self.snapshot(snapshot_id),
            size_gib=int(found["size"]) if found else 0,
        )

    def revert_to_snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """Bring the volume back to its newest snapshot, and wait (API 3.40).

        One that is on its way back already comes to its end first: Cinder refuses the next till
        then.
        """
        if self.volume(volume_id)["status"] == "reverting":
            self.wait_volume(volume_id, cleaning=True)
        with translated(f"Reverting volume {volume_id} to snapshot {snapshot_id}"):
            self._client.volumes.revert_to_snapshot(
                self._client.volumes.get(volume_id),
                self._client.volume_snapshots.get(snapshot_id),
            )
        self.wait_volume(volume_id, cleaning=True)

    # Attachments

    def attachment(self, attachment_id: str) -> Resource:
        """The attachment with its ``connection_info``, which can hold secrets: never store it."""
        with translated(f"Attachment {attachment_id}"):
            return self._plain(self._client.attachments.show(attachment_id))

    def attachments(self, volume_id: str) -> list[Resource]:
        """The attachments of a volume, those of servers included."""
        with translated(f"Listing attachments of volume {volume_id}"):
            # search_opts does not reach the servers of all releases: filter here too.
            found = self._client.attachments.list(
                detailed=True, search_opts={"volume_id": volume_id}
            )
        return [a for a in map(self._plain, found) if a["volume_id"] == volume_id]

    def create_attachment(self, volume_id: str, connector: Mapping[str, Any]) -> str:
        """Attach the volume to this host, and give the attachment's id.

        There is never a server id in it: Cinder lets only Nova delete the attachment of a
        server (CVE-2023-2088).
        """
        with translated(f"Attaching volume {volume_id}"):
            return str(self._client.attachments.create(volume_id, dict(connector))["id"])

    def complete_attachment(self, attachment_id: str) -> None:
        """Tell Cinder that the host has connected (API 3.44)."""
        with translated(f"Completing attachment {attachment_id}"):
            self._client.attachments.complete(attachment_id)

    def delete_attachment(self, attachment_id: str) -> None:
        """End the attachment. One that is gone already is fine."""
        try:
            with translated(f"Deleting attachment {attachment_id}"):
                self._client.attachments.delete(attachment_id)
        except ResourceNotFoundError:
            if existing(lambda: self.attachment(attachment_id)):
                raise

    # What else the API knows

    def find_volume_type(self, name_or_id: str) -> Resource:
        """The volume type with its extra specs, as far as policy shows them.

        :raises ResourceNotFoundError: this cloud has none of that id or name
        """
        with translated("Listing volume types"):
            types = [self._plain(t) for t in self._client.volume_types.list()]
        for found in types:
            if name_or_id in (found["id"], found["name"]):
                return found
        names = ", ".join(sorted(t["name"] for t in types))
        raise ResourceNotFoundError(
            f"This cloud has no volume type '{name_or_id}'; it has: {names}."
        )

    def qos_specs(self, qos_id: str) -> Resource:
        """A QoS specification.

        :raises CloudError: this user may not see it
        """
        with translated(f"QoS specification {qos_id}"):
            return self._plain(self._client.qos_specs.get(qos_id))

    def volume_type_names(self, ids: Collection[str]) -> list[str]:
        """The names of the volume types of these ids, as far as the user may see them."""
        with translated("Listing volume types"):
            found = {t.id: str(t.name) for t in self._client.volume_types.list()}
        return [found[one] for one in ids if one in found]

    def availability_zones(self) -> list[str]:
        """The names of the zones in which volumes can be made."""
        with translated("Listing availability zones"):
            zones = self._client.availability_zones.list()
        return [zone.zoneName for zone in zones if zone.zoneState["available"]]

    def encryption(self, volume_id: str) -> Resource:
        """The encryption metadata of a volume; empty where it is not encrypted."""
        with translated(f"Encryption of volume {volume_id}"):
            return dict(self._client.volumes.get_encryption_metadata(volume_id).to_dict())

    # For what has a module of its own

    @property
    def client(self) -> Any:
        """python-cinderclient, for the API version that this cloud and volflow have in common."""
        return self._client

    def wait_for(
        self,
        look: Callable[[], Resource],
        ready: Collection[str],
        *,
        what: str,
        size_gib: int = 0,
        cleaning: bool = False,
    ) -> Resource:
        """Wait until something is in one of these states.

        :param size_gib: the size of all volumes that it is of, in GiB
        :param cleaning: this is part of cleaning up, and not to be interrupted
        """
        return self._wait.until(
            look,
            ready,
            what=what,
            size_gib=size_gib,
            reason=self.last_message,
            stopping=None if cleaning else self._stopping,
        )

    def delete(
        self,
        what: str,
        delete: Callable[[], object],
        look: Callable[[], Resource],
        *,
        size_gib: int = 0,
    ) -> None:
        """Delete something and wait until it is gone. One that is gone already is fine.

        :param size_gib: the size of all volumes that it is of, in GiB
        :raises WaitError: Cinder did not delete it, or not in time
        """
        try:
            with translated(f"Deleting {what}"):
                delete()
        except ResourceNotFoundError:
            if existing(look):
                raise
            return
        self.wait_gone(look, what=what.capitalize(), size_gib=size_gib)

    def wait_gone(self, look: Callable[[], Resource], *, what: str, size_gib: int = 0) -> None:
        """Wait until something is gone whose deletion Cinder has accepted.

        :param size_gib: the size of all volumes that it is of, in GiB
        :raises WaitError: Cinder did not delete it, or not in time
        """
        self._wait.until_gone(
            look,
            what=what,
            size_gib=size_gib,
            reason=self.last_message,
            stopping=self._stopping_gone,
        )

    # Quotas and messages

    def quota_left(self) -> Quota:
        """What is left of the project's quota (``GET /limits``), and for each volume type."""
        with translated("Reading the quota"):
            limits = {limit.name: limit.value for limit in self._client.limits.get().absolute}

        def left(maximum: str, used: str) -> int | None:
            most = int(limits.get(maximum, -1))
            # A quota can be lowered below what is in use.
            return None if most < 0 else max(0, most - int(limits.get(used, 0)))

        return Quota(
            volumes=left("maxTotalVolumes", "totalVolumesUsed"),
            snapshots=left("maxTotalSnapshots", "totalSnapshotsUsed"),
            gigabytes=left("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
            types=self._types_left(),
        )

    def _types_left(self) -> dict[str, Quota]:
        """What is left for the volume types that have limits of their own, where one may see it."""
        try:
            with translated("Reading the quotas of volume types"):
                found = self._plain(self._client.quotas.get(self.project_id, usage=True))
        except CloudError as error:
            LOG.info("The quotas of volume types are not looked at: %s", error)
            return {}
        left: dict[str, dict[str, int]] = {}
        for key, value in found.items():
            # volumes_NAME, snapshots_NAME and gigabytes_NAME, beside those of all types.
            resource, _, name = key.partition("_")
            if name and resource in ("volumes", "snapshots", "gigabytes") and value["limit"] >= 0:
                room = int(value["limit"]) - int(value["in_use"]) - int(value["reserved"])
                left.setdefault(name, {})[resource] = max(0, room)
        return {
            name: Quota(of.get("volumes"), of.get("snapshots"), of.get("gigabytes"))
            for name, of in left.items()
        }

    def last_message(self, resource: Resource) -> str:
        """Cinder's own words on why this resource failed; empty where it says nothing."""
        try:
            with translated("Reading Cinder's messages"):
                found = self._client.messages.list(search_opts={"resource_uuid": resource["id"]})
        except CloudError as error:
            return f"(Cinder's message could not be read: {error})"
        messages = sorted(map(self._plain, found), key=lambda m: str(m["created_at"]))
        return str(messages[-1]["user_message"]) if messages else ""

    @staticmethod
    def _plain(resource: Any) -> Resource:
        return {k: v for k, v in resource.to_dict().items() if k != "x_openstack_request_ids"}


def whole(listed: Callable[[], Iterable[Any]]) -> list[Any]:
    """A list to its end. The client follows the API's pages.

    Each page begins after the last of the page before; if that has gone meanwhile, the API knows
    no next page, and the list is to be begun anew.
    """
    for _ in range(_RETRIES):
        try:
            return list(listed())
        except exceptions.NotFound:
            LOG.info("What a page began after has gone; listing again")
    return list(listed())


def require_usable(volume: Resource, states: Collection[str]) -> None:
    """Refuse a volume in a state in which its data cannot be copied.

    :raises VolumeStateError: naming the volume and its state
    """
    if volume["status"] not in states:
        raise VolumeStateError(
            f"Volume {volume['name'] or volume['id']} ({volume['id']}) is '{volume['status']}'; it "
            f"must be {' or '.join(repr(s) for s in states)}. Wait, or mend it, and try again."
        )
