"""Attachments of volumes to hosts, as Cinder keeps them: Block Storage API 3.27 and 3.44."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from volflow.cloud.client import Client, plain, translated
from volflow.cloud.wait import Resource, Resources, existing
from volflow.errors import ResourceNotFoundError


class Attachments:
    """The attachments of a project's volumes, those to servers included."""

    def __init__(self, client: Client) -> None:
        self._api = client.api

    def get(self, attachment_id: str) -> Resource:
        """The attachment with its ``connection_info``, which can hold secrets: never store it.

        :raises ResourceNotFoundError: it does not exist, and only then
        """
        with translated(f"Attachment {attachment_id}"):
            return plain(self._api.attachments.show(attachment_id))

    def list(self, volume_id: str) -> Resources:
        """The attachments of a volume, those to servers included."""
        with translated(f"Listing attachments of volume {volume_id}"):
            # Not every release passes search_opts on to the server: filter here too.
            found = self._api.attachments.list(detailed=True, search_opts={"volume_id": volume_id})
        return [a for a in map(plain, found) if a["volume_id"] == volume_id]

    def create(self, volume_id: str, connector: Mapping[str, Any]) -> str:
        """Attach the volume to this host, and return the attachment's id.

        It never contains a server id: Cinder lets only Nova delete the attachment of a server
        (CVE-2023-2088).

        :param connector: os-brick's properties of this host
        """
        with translated(f"Attaching volume {volume_id}"):
            return str(self._api.attachments.create(volume_id, dict(connector))["id"])

    def complete(self, attachment_id: str) -> None:
        """Report to Cinder that the host has connected the volume (API 3.44)."""
        with translated(f"Completing attachment {attachment_id}"):
            self._api.attachments.complete(attachment_id)

    def delete(self, attachment_id: str) -> None:
        """Delete the attachment. It is no error if it is gone already."""
        try:
            with translated(f"Deleting attachment {attachment_id}"):
                self._api.attachments.delete(attachment_id)
        except ResourceNotFoundError:
            if existing(lambda: self.get(attachment_id)):
                raise
