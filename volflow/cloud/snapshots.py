"""Snapshots of volumes in Cinder."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cinderclient import api_versions

from volflow.cloud.client import Client, Deletion, plain
from volflow.cloud.marks import TAG_KEY, tag_of
from volflow.cloud.wait import Resource, Resources, existing

# From 3.66 on a snapshot of a volume in use needs no force flag.
_NO_FORCE = api_versions.APIVersion("3.66")


class Snapshots:
    """The snapshots of a project's volumes.

    :param version: the API version that this cloud and volflow both know
    """

    def __init__(self, client: Client, version: api_versions.APIVersion) -> None:
        self._client, self._api = client, client.api
        self._version = version

    def get(self, snapshot_id: str) -> Resource:
        """The snapshot with this id.

        :raises ResourceNotFoundError: it does not exist, and only then
        """
        return self._client.call(
            f"Snapshot {snapshot_id}",
            lambda: plain(self._api.volume_snapshots.get(snapshot_id), "status", "size"),
        )

    def existing(self, snapshot_id: str) -> Resource | None:
        """The snapshot, or None if it is gone. It counts as gone after two 404 in a row."""
        return existing(lambda: self.get(snapshot_id))

    def list(self, volume_id: str) -> Resources:
        """The snapshots of a volume, newest first."""
        found = self._client.list_all(
            f"Listing snapshots of volume {volume_id}",
            lambda: self._api.volume_snapshots.list(search_opts={"volume_id": volume_id}),
        )
        mine = [s for s in found if s["volume_id"] == volume_id]
        return sorted(mine, key=lambda s: str(s["created_at"]), reverse=True)

    def tagged(self, volume_id: str, tag: str) -> Resources:
        """The snapshots of a volume that carry this tag."""
        return [s for s in self.list(volume_id) if tag_of(s) == tag]

    def marked(self) -> Resources:
        """The snapshots of this project that carry the tag of any run."""
        found = self._client.list_all(
            "Looking for snapshots of runs", self._api.volume_snapshots.list
        )
        return [s for s in found if tag_of(s)]

    def create(
        self,
        volume_id: str,
        *,
        name: str,
        description: str,
        metadata: Mapping[str, str],
        unanswered: Callable[[], None],
    ) -> Resource:
        """Ask for a snapshot of the volume, in use or not. Does not wait.

        :param metadata: contains the tag
        :param unanswered: called when a request had no answer, before it is repeated
        """
        force = {} if self._version >= _NO_FORCE else {"force": True}
        return self._client.call(
            f"Creating a snapshot of volume {volume_id}",
            lambda: plain(
                self._api.volume_snapshots.create(
                    volume_id,
                    name=name,
                    description=description,
                    metadata=dict(metadata),
                    **force,
                )
            ),
            found=lambda: next(iter(self.tagged(volume_id, metadata[TAG_KEY])), None),
            unanswered=unanswered,
        )

    def wait(self, snapshot_id: str) -> Resource:
        """Wait until the snapshot is available.

        :raises WaitError: the snapshot is in an error state, or the wait took too long
        """
        return self._client.wait_for(
            lambda: self.get(snapshot_id),
            ("available",),
            what=f"Snapshot {snapshot_id}",
            size_gib=int(self.get(snapshot_id)["size"]),
        )

    def delete(self, snapshot_id: str, *, begun: Callable[[], object] = lambda: None) -> Deletion:
        """Delete the snapshot and wait until it is gone. It is no error if it is gone already.

        :param begun: called at each sign that Cinder deletes it
        :returns: who has deleted it, as far as is known
        :raises WaitError: Cinder did not delete it, or not in time
        """
        found = existing(lambda: self.get(snapshot_id))
        return self._client.delete(
            f"snapshot {snapshot_id}",
            lambda: self._api.volume_snapshots.delete(snapshot_id),
            lambda: self.get(snapshot_id),
            size_gib=int(found["size"]) if found else 0,
            begun=begun,
        )
