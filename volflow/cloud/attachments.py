"""Attachments of volumes to hosts, as Cinder keeps them: Block Storage API 3.27 and 3.44."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volflow.cloud.client import Client, plain
from volflow.cloud.wait import Resource, Resources, existing
from volflow.errors import ResourceNotFoundError


class Attachments:
    """The attachments of a project's volumes, those to servers included."""

    def __init__(self, client: Client) -> None:
        self._client, self._api = client, client.api

    def get(self, attachment_id: str) -> Resource:
        """The attachment with its ``connection_info``, which can hold secrets: never store it.

        :raises ResourceNotFoundError: it does not exist, and only then
        """
        return self._client.call(
            f"Attachment {attachment_id}", lambda: plain(self._api.attachments.show(attachment_id))
        )

    def list(self, volume_id: str) -> Resources:
        """The attachments of a volume, those to servers included."""
        found = self._client.list_all(
            f"Listing attachments of volume {volume_id}",
            lambda: self._api.attachments.list(detailed=True, search_opts={"volume_id": volume_id}),
            *("volume_id", "instance", "status"),
        )
        # Not every release passes search_opts on to the server: filter here too.
        return [one for one in found if one["volume_id"] == volume_id]

    def create(self, volume_id: str, connector: Mapping[str, Any]) -> str:
        """Attach the volume to this host, and return the attachment's id.

        It never contains a server id: Cinder lets only Nova delete the attachment of a server
        (CVE-2023-2088).

        :param connector: os-brick's properties of this host
        """
        return self._client.call(
            f"Attaching volume {volume_id}",
            lambda: str(self._api.attachments.create(volume_id, dict(connector))["id"]),
            found=lambda: self._unanswered(volume_id),
        )

    def _unanswered(self, volume_id: str) -> str | None:
        """The attachment that a lost answer was about.

        Attachments have no metadata. But nobody attaches a volume that this run works on, except
        this run, which has no attachment of the volume before it asks for one. What Cinder has
        not finished is deleted, so that the request can be sent again.
        """
        for attachment in self.list(volume_id):
            if attachment["instance"] or attachment["status"] == "attached":
                continue
            if attachment["status"] == "attaching" and self.get(attachment["id"]).get(
                "connection_info"
            ):
                return str(attachment["id"])
            self.delete(attachment["id"])
        return None

    def complete(self, attachment_id: str) -> None:
        """Report to Cinder that the host has connected the volume (API 3.44)."""
        self._client.call(
            f"Completing attachment {attachment_id}",
            lambda: self._api.attachments.complete(attachment_id),
        )

    def delete(self, attachment_id: str) -> None:
        """Delete the attachment. It is no error if it is gone already."""

        def delete() -> None:
            answer = self._api.attachments.delete(attachment_id)
            if answer:
                # Cinder answers with the attachments that the volume still has.
                answer[1]["attachments"]

        try:
            self._client.call(f"Deleting attachment {attachment_id}", delete)
        except ResourceNotFoundError:
            if existing(lambda: self.get(attachment_id)):
                raise
