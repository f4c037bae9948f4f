"""Reads what Cinder knows about the volume, for the manifest of the backup."""

from __future__ import annotations

import logging
from typing import Any

from volflow.errors import CloudError
from volflow.tasks.base import Step

LOG = logging.getLogger(__name__)


class Describe(Step):
    """Reads the volume, its type, encryption and group, for the manifest. Makes nothing."""

    step = "read properties"
    default_provides = "description"

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        volume = cinder.volumes.get(self.work.volume_id)
        type_id = volume.get("volume_type_id") or volume.get("volume_type")
        volume_type = cinder.types.find(type_id) if type_id else {}
        return {
            "volume": volume,
            "volume_type": volume_type,
            "qos": self._qos(volume_type.get("qos_specs_id")),
            "encryption": cinder.volumes.encryption(volume["id"]) if volume["encrypted"] else {},
            **self._group(volume.get("group_id")),
        }

    def _qos(self, qos_id: str | None) -> dict[str, Any]:
        if not qos_id:
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
            "group_type": groups.type(group),
            # Another cloud has other ids.
            "group_volume_types": cinder.types.names(group["volume_types"]),
        }
