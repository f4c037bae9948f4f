"""Reads what Cinder knows about the volume, for the manifest of the backup."""

from __future__ import annotations

import logging
from typing import Any

from volflow.cloud.properties import NOT_VISIBLE
from volflow.cloud.wait import existing
from volflow.errors import CloudError, ResourceNotFoundError
from volflow.tasks.base import Step
from volflow.tasks.source import require_not_restored

LOG = logging.getLogger(__name__)

# What the manifest tells of a type, besides its name.
_OF_TYPE = ("description", "extra_specs", "qos_specs_id")


class Describe(Step):
    """Reads the volume, its type, encryption and group, for the manifest. Makes nothing."""

    step = "read properties"
    default_provides = "description"

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        volume = require_not_restored(self.work, self.work.volume_id)
        volume_type = self._type(volume)
        return {
            "volume": volume,
            "volume_type": volume_type,
            "qos": self._qos(volume_type.get("qos_specs_id")),
            "encryption": cinder.volumes.encryption(volume["id"]) if volume["encrypted"] else {},
            **self._group(volume.get("group_id")),
        }

    def _type(self, volume: dict[str, Any]) -> dict[str, Any]:
        type_id = volume.get("volume_type_id") or volume.get("volume_type")
        if not type_id:
            return {}
        try:
            return self.work.cinder.types.find(type_id)
        except ResourceNotFoundError as error:
            # It is private, and the project may not use it any more; its volumes stay.
            LOG.warning("The manifest does not describe the volume's type: %s", error)
            name = volume.get("volume_type") or type_id
            return {"id": type_id, "name": name, **dict.fromkeys(_OF_TYPE, NOT_VISIBLE)}

    def _qos(self, qos_id: str | None) -> dict[str, Any]:
        if not qos_id or qos_id == NOT_VISIBLE:
            return {}
        try:
            return self.work.cinder.types.qos_specs(qos_id)
        except CloudError as error:
            # It is only information.
            LOG.warning("The manifest does not contain QoS specification %s: %s", qos_id, error)
            return {}

    def _group(self, group_id: str | None) -> dict[str, Any]:
        if not group_id:
            return {"group": {}}
        cinder, groups = self.work.cinder, self.work.cinder.groups
        group = groups.get(group_id)
        return {
            "group": group,
            "group_type": self._group_type(group),
            # Another cloud has other ids.
            "group_volume_types": cinder.types.names(group["volume_types"]),
        }

    def _group_type(self, group: dict[str, Any]) -> dict[str, Any]:
        found = existing(lambda: self.work.cinder.groups.type(group))
        if found is None:
            LOG.warning("The manifest does not describe the type of group %s", group["id"])
            return {"id": group["group_type"], "name": "", "group_specs": NOT_VISIBLE}
        return found
