"""The attachments of the fake Cinder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.fake_cinder.manager import OfVolumes, Resource


class Attachments(OfVolumes):
    def create(
        self, volume_id: str, connector: Mapping[str, Any], instance: str | None = None
    ) -> dict[str, Any]:
        self._note("create", volume_id)
        attachment = {
            "volume_id": volume_id,
            "instance": instance,
            "status": "attaching",
            "connection_info": {"driver_volume_type": "local", "device_path": "/dev/standin"},
        }
        return self._add(attachment).to_dict()

    def show(self, attachment_id: str) -> Resource:
        return self.get(attachment_id)

    def complete(self, attachment_id: str) -> None:
        self.get(attachment_id)
        self[attachment_id]["status"] = "attached"
