"""Everything that Cinder knows of the volume."""

from __future__ import annotations

from typing import Any

from volflow.tasks.base import Step


class Describe(Step):
    """Reads the volume, its type, encryption and group, for the manifest. Makes nothing."""

    step = "read properties"
    default_provides = "description"

    def execute(self) -> dict[str, Any]:
        cinder = self.work.cinder
        volume = cinder.volume(self.work.volume_id)
        type_id = volume.get("volume_type_id") or volume.get("volume_type")
        group_id = volume.get("group_id")
        return {
            "volume": volume,
            "volume_type": cinder.find_volume_type(type_id) if type_id else {},
            "encryption": cinder.encryption(volume["id"]) if volume["encrypted"] else {},
            "group": cinder.group(group_id) if group_id else {},
        }
