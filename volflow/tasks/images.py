"""The images of a restore: from the repository to their places on the target."""

from __future__ import annotations

from typing import Any

from volflow.disk import durable, partitions
from volflow.disk.growing import Growth, grown
from volflow.disk.mapping import Mapping
from volflow.observers.totals import Totals
from volflow.repositories.images import image_of, restored_images
from volflow.repositories.manifest import Manifest
from volflow.results.outcome import CopyProgress
from volflow.tasks.base import Step
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work


class RestoreImages(Step):
    """Writes the images of the backup to their places: the partition table is one of them.

    This step has nothing to revert: other steps delete a new volume, and revert an existing one to
    its safety snapshot.
    """

    step = "restore images"

    def __init__(
        self,
        work: Work,
        backup_id: str,
        manifest: Manifest,
        *,
        grow: bool = False,
        verify: bool = False,
    ) -> None:
        """
        :param grow: whether the last partition fills a larger volume
        :param verify: compare each image with the backup, before the table is adapted
        """
        super().__init__(work)
        self._backup_id, self._manifest = backup_id, manifest
        self._grow, self._verify = grow, verify

    def execute(self, device: str) -> None:
        services, host = self.services, self.services.host
        totals = Totals(services.catalogue, self._backup_id, self.work.repository.location)

        def tell(copied: CopyProgress) -> None:
            services.observer.copied(self.work.volume_id, totals.of(copied))

        size, mover = host.device_size(device), self.work.mover
        growth = grown(self._manifest.disk, size) if self._grow else Growth(self._manifest.disk)
        namespace = host.namespace()
        try:
            with RepositoryLock.watched(self.work):
                for region in restored_images(self._manifest, size, growth.end):
                    image = image_of(region, device)
                    common: dict[str, Any] = {"progress": tell, "stopping": services.stopping}
                    # The storage may not have erased what another volume had there.
                    mover.restore_image(namespace, self._backup_id, image, blank=False, **common)
                    if self._verify:
                        mover.compare_image(namespace, self._backup_id, image, **common)
        finally:
            namespace.close()
        self._adapt(device, size, growth)
        durable.settle_device(host.privilege, device)

    def _adapt(self, device: str, size: int, growth: Growth) -> None:
        """Adapt the partition table to a larger device.

        :param size: bytes of the device
        """
        disk, privilege = self._manifest.disk, self.services.host.privilege
        if disk.layout is None or size <= disk.layout.size:
            return
        if growth.why:
            Remark.SIZE.of(self.work, f"the last partition keeps its size, because {growth.why}")
        if disk.layout.table != "gpt" and not growth.partition:
            return
        with Mapping(
            privilege, device, [(0, size)], read_only=False, sector_size=disk.sector_size
        ) as mapped:
            (path,) = mapped.paths
            if disk.layout.table == "gpt":
                # The backup of a GPT is at the end of its device.
                partitions.move_backup(privilege, path)
            growth.write(privilege, path)
            durable.settle_device(privilege, path)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
