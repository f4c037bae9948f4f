"""The properties of the restored volume that cannot be given when it is made."""

from __future__ import annotations

from volflow.manifest import Manifest
from volflow.tasks.base import Step
from volflow.tasks.target import NewVolume


class ApplyProperties(Step):
    """Gives a new volume the rest of its properties, and makes it the tenant's for good.

    Type, zone, size, name and metadata it has from its making; multiattach comes by the type.
    Nothing to revert: the volume is deleted.
    """

    step = "properties"

    def __init__(self, target: NewVolume, manifest: Manifest) -> None:
        super().__init__(target.work)
        self._target, self._manifest = target, manifest

    def execute(self, clone_id: str) -> None:
        cinder, was = self.work.cinder, self._manifest.volume
        if was["bootable"] == "true":
            cinder.set_bootable(clone_id, True)
        if was.get("volume_image_metadata"):
            cinder.set_image_metadata(clone_id, was["volume_image_metadata"])
        # Last, for a volume that is read-only takes no more changes by its guests.
        if str(was["metadata"].get("readonly", "")).lower() == "true":
            cinder.set_readonly(clone_id, True)
        # A request for it that was sent again may have made it twice.
        for volume in cinder.volumes_tagged(self._target.tag):
            if volume["id"] != clone_id:
                cinder.delete_volume(volume["id"])
        self._target.keep(clone_id)
