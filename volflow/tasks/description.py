"""Everything that Cinder knows of the volume."""

from __future__ import annotations

from typing import Any

from volflow.groups import Groups
from volflow.tasks.base import Step


class Describe(Step):
    """Reads the volume, its type, encryption and group, for the manifest. Makes nothing."""

    step = "read properties"
    default_provides = "description"

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        volume = cinder.volume(self.work.volume_id)
        type_id = volume.get("volume_type_id") or volume.get("volume_type")
        return {
            "volume": volume,
            "volume_type": cinder.find_volume_type(type_id) if type_id else {},
            "encryption": cinder.encryption(volume["id"]) if volume["encrypted"] else {},
            **self._group(volume.get("group_id")),
        }

    def _group(self, group_id: str | None) -> dict[str, Any]:
        if not group_id:
            return {"group": {}}
        cinder, groups = self.work.cinder, Groups(self.work.cinder)
        group = groups.get(group_id)
        return {
            "group": group,
            "group_type": groups.type(group),
            # Another cloud knows them by their names.
            "group_volume_types": cinder.volume_type_names(group["volume_types"]),
        }
