"""Volumes in Cinder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from oslo_utils.uuidutils import is_uuid_like

from volflow.cloud.client import Client, Deletion, plain
from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.cloud.wait import Resource, Resources, existing
from volflow.errors import (
    CloudError,
    ResourceNotFoundError,
    UnavailableError,
    UsageError,
    VolumeStateError,
)

Volume = dict[str, Any]

# A snapshot can be taken of a volume in these states.
USABLE = ("available", "in-use")


class Volumes:
    """The volumes of a project.

    :param project_id: the project of the login, where it has one
    """

    def __init__(self, client: Client, project_id: str | None) -> None:
        self._client, self._api = client, client.api
        self._project_id = project_id

    def get(self, volume_id: str) -> Resource:
        """The volume with this id.

        :raises ResourceNotFoundError: it does not exist, and only then
        """
        return self._client.call(
            f"Volume {volume_id}", lambda: plain(self._api.volumes.get(volume_id), "status", "size")
        )

    def existing(self, volume_id: str) -> Resource | None:
        """The volume, or None if it is gone. It counts as gone after two 404 in a row."""
        return existing(lambda: self.get(volume_id))

    def find(self, name_or_id: str) -> Resource:
        """The volume with this id or, if no volume has it, with this name.

        :raises ResourceNotFoundError: no volume has it
        :raises UsageError: several have that name, or it is empty
        """
        if not name_or_id:
            # The API would list every volume for an empty name.
            raise UsageError("The name of a volume is empty; was a variable not set?")
        # Other names could mean something else in the URL of a request.
        found = self.existing(name_or_id) if is_uuid_like(name_or_id) else None
        if found is not None:
            return found
        volumes = self.named(name_or_id)
        if not volumes:
            raise ResourceNotFoundError(
                f"No volume has the id or name '{name_or_id}' in this project. "
                "'openstack volume list' shows the existing ones."
            )
        if len(volumes) > 1:
            ids = ", ".join(sorted(v["id"] for v in volumes))
            raise UsageError(f"{len(volumes)} volumes are named '{name_or_id}'; give an id: {ids}")
        return volumes[0]

    def named(self, name: str) -> Resources:
        """The volumes of the project with this name."""
        found = self._client.list_all(
            f"Looking for volume '{name}'",
            lambda: self._api.volumes.list(search_opts={"name": name}),
        )
        # The server filters, unless its administrator has disabled that.
        return [volume for volume in found if volume["name"] == name]

    def list(self, *, all_tenants: bool = False) -> Resources:
        """All volumes of the project, or of all projects.

        :raises CloudError: this user may not see the volumes of other projects
        """
        options = {"all_tenants": 1} if all_tenants else None
        volumes = self._client.list_all(
            "Listing volumes", lambda: self._api.volumes.list(search_opts=options)
        )
        if all_tenants:
            self._require_all(volumes)
        return volumes

    def require_all_tenants(self) -> None:
        """Make sure that this user may see the volumes of all projects.

        :raises CloudError: Cinder does not take the user for an administrator
        """
        self._require_all(self._one_of_all())

    def sees_all_projects(self) -> bool:
        """Whether this user sees the volumes and snapshots of all projects, by their ids.

        :raises CloudError: Cinder does not answer
        """
        return self._sees_all(self._one_of_all())

    def _one_of_all(self) -> Resources:
        return self._client.list_all(
            "Listing volumes",
            lambda: self._api.volumes.list(search_opts={"all_tenants": 1}, limit=1),
        )

    def _require_all(self, found: Sequence[Resource]) -> None:
        if not self._sees_all(found):
            raise CloudError(
                "Only administrators may list the volumes of all projects; this user may list "
                f"those of project {self._project_id}. Use --all, or log in as an administrator."
            )

    def _sees_all(self, found: Sequence[Resource]) -> bool:
        """Whether a list of the volumes of all projects is complete.

        To other users than administrators Cinder lists only the volumes of their project, and the
        answer does not say so. But only administrators see the field ``migration_status``.
        """
        if found:
            return any("migration_status" in volume for volume in found)
        try:
            self._client.call("Listing services", self._api.services.list)
        except UnavailableError:
            raise
        except CloudError:
            return False
        return True

    def in_group(self, group_id: str) -> Resources:
        """The volumes of a group, also of another project if this user may see them."""
        options = {"all_tenants": 1, "group_id": group_id}
        found = self._client.list_all(
            f"Listing the volumes of group {group_id}",
            lambda: self._api.volumes.list(search_opts=options),
        )
        # The server filters, unless its administrator has disabled that.
        return [v for v in found if v.get("group_id") == group_id]

    def tagged(self, tag: str) -> Resources:
        """The volumes that carry this tag."""
        found = self._client.list_all(
            "Looking for volumes of this run",
            lambda: self._api.volumes.list(search_opts={"metadata": {TAG_KEY: tag}}),
        )
        # The server filters, unless its administrator has disabled that.
        return [v for v in found if tag_of(v) == tag]

    def marked(self) -> Resources:
        """The volumes of this project that carry the tag of any run."""
        found = self._client.list_all("Looking for volumes of runs", self._api.volumes.list)
        return [v for v in found if tag_of(v)]

    def create(self, *, unanswered: Callable[[], None], **properties: Any) -> Resource:
        """Ask for a volume; the arguments are the API's (``size`` in GiB). Does not wait.

        :param unanswered: called when a request had no answer, before it is repeated
        :param properties: the metadata contains the tag
        """
        tag = properties["metadata"][TAG_KEY]
        return self._client.call(
            "Creating a volume",
            lambda: plain(self._api.volumes.create(**properties)),
            found=lambda: next(iter(self.tagged(tag)), None),
            unanswered=unanswered,
        )

    def wait(
        self,
        volume_id: str,
        ready: Collection[str] = ("available",),
        what: str = "Volume",
        *,
        cleaning: bool = False,
    ) -> Resource:
        """Wait until the volume is in one of these states.

        :param cleaning: this is part of cleaning up, which is never interrupted
        :raises WaitError: the volume is in an error state, or the wait took too long
        """
        return self._client.wait_for(
            lambda: self.get(volume_id),
            ready,
            what=f"{what} {volume_id}",
            size_gib=int(self.get(volume_id)["size"]),
            cleaning=cleaning,
        )

    def wait_settled(self, volume: Resource) -> Resource | None:
        """Wait until Cinder no longer changes the volume, or it is gone: then None.

        :raises WaitError: the wait took too long
        :raises StoppedError: the run was asked to stop
        """
        return self._client.wait_settled(
            lambda: self.get(volume["id"]),
            what=f"Volume {volume['id']}",
            size_gib=int(volume["size"]),
        )

    def delete(self, volume_id: str, *, begun: Callable[[], object] = lambda: None) -> Deletion:
        """Delete the volume and wait until it is gone. It is no error if it is gone already.

        :param begun: called at each sign that Cinder deletes it
        :returns: who has deleted it, as far as is known
        :raises WaitError: Cinder did not delete it, or not in time
        """
        found = self.existing(volume_id)
        return self._client.delete(
            f"volume {volume_id}",
            lambda: self._api.volumes.delete(volume_id),
            lambda: self.get(volume_id),
            size_gib=int(found["size"]) if found else 0,
            begun=begun,
        )

    def wait_gone(self, volume_id: str) -> None:
        """Wait until a volume is gone whose deletion Cinder has accepted.

        :raises WaitError: Cinder did not delete it, or not in time
        """
        self._client.wait_gone(lambda: self.get(volume_id), what=f"Volume {volume_id}")

    def revert_to_snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """Revert the volume to its newest snapshot, and wait (API 3.40).

        Cinder refuses this while an earlier revert runs, so this waits for the earlier one first.
        """

        def revert() -> None:
            if self.get(volume_id)["status"] == "reverting":
                self.wait(volume_id, cleaning=True)
            self._api.volumes.revert_to_snapshot(
                self._api.volumes.get(volume_id),
                self._api.volume_snapshots.get(snapshot_id),
            )

        self._client.call(f"Reverting volume {volume_id} to snapshot {snapshot_id}", revert)
        self.wait(volume_id, cleaning=True)

    def encryption(self, volume_id: str) -> Resource:
        """The encryption metadata of a volume; empty if it is not encrypted."""
        return self._client.call(
            f"Encryption of volume {volume_id}",
            lambda: dict(self._api.volumes.get_encryption_metadata(volume_id).to_dict()),
        )

    # Its properties

    def update(self, volume_id: str, **fields: Any) -> None:
        """Set the name or description."""
        self._client.call(
            f"Updating volume {volume_id}", lambda: self._api.volumes.update(volume_id, **fields)
        )

    def set_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self._client.call(
            f"Setting metadata of volume {volume_id}",
            lambda: self._api.volumes.set_metadata(volume_id, dict(metadata)),
        )

    def delete_metadata(self, volume_id: str, keys: Collection[str]) -> None:
        """Remove these keys. It is no error if the volume does not have one of them."""

        def delete() -> None:
            # An earlier attempt may have removed some.
            metadata = plain(self._api.volumes.get(volume_id), "metadata")["metadata"]
            present = [key for key in keys if key in metadata]
            self._api.volumes.delete_metadata(volume_id, present)

        self._client.call(f"Removing metadata of volume {volume_id}", delete)

    def set_bootable(self, volume_id: str, bootable: bool) -> None:
        self._client.call(
            f"Setting volume {volume_id} bootable",
            lambda: self._api.volumes.set_bootable(volume_id, bootable),
        )

    def set_image_metadata(self, volume_id: str, metadata: Mapping[str, str]) -> None:
        self._client.call(
            f"Setting image metadata of volume {volume_id}",
            lambda: self._api.volumes.set_image_metadata(volume_id, dict(metadata)),
        )

    def delete_image_metadata(self, volume_id: str, keys: Collection[str]) -> None:
        def delete() -> None:
            # An earlier attempt may have removed some.
            found = plain(self._api.volumes.get(volume_id)).get("volume_image_metadata") or {}
            if present := [key for key in keys if key in found]:
                self._api.volumes.delete_image_metadata(volume_id, present)

        self._client.call(f"Removing image metadata of volume {volume_id}", delete)

    def set_readonly(self, volume_id: str, readonly: bool) -> None:
        self._client.call(
            f"Setting volume {volume_id} read-only",
            lambda: self._api.volumes.update_readonly_flag(volume_id, readonly),
        )


def project_of(volume: Volume) -> str:
    """The project of a volume; empty if the API does not show it."""
    return str(volume.get("os-vol-tenant-attr:tenant_id") or "")


def require_usable(volume: Resource, states: Collection[str]) -> None:
    """Refuse a volume in a state that does not allow a copy of its data.

    :raises VolumeStateError: the volume is in another state; names both
    """
    if volume["status"] not in states:
        raise VolumeStateError(
            f"Volume {volume['name'] or volume['id']} ({volume['id']}) is '{volume['status']}'; it "
            f"must be {' or '.join(repr(s) for s in states)}. Wait or fix it, then try again."
        )
