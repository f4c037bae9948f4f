"""Verifies a restore: compares the volume with the backup."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from volflow.observers.totals import Totals
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks.base import Step
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.mount import Mount
from volflow.tasks.work import Work


class Verify(Step):
    """Compares the files on the volume with the backup. Makes nothing.

    It runs after the file system was unmounted, and mounts it again, so that it reads the data from
    the device and not from the page cache.
    """

    step = "verify"

    def __init__(self, work: Work, backup_id: str, manifest: Manifest) -> None:
        super().__init__(work)
        self._backup_id, self._manifest = backup_id, manifest
        self._mount = Mount(work, read_only=True)

    def execute(self, device: str, disk: dict[str, Any]) -> None:
        self._compare(device, disk)

    def _compare(
        self,
        device: str,
        disk: dict[str, Any],
        covered: Callable[[Region, str], bool] | None = None,
    ) -> None:
        """Compare the restored files.

        :param covered: whether a path of a region was restored; all by default
        """
        services = self.services
        totals = Totals(services.catalogue, self._backup_id, self.work.repository.location)
        services.host.privilege.run("blockdev", "--flushbufs", device)
        self._mount.execute(device, disk)
        try:
            assert self.work.namespace is not None
            with RepositoryLock.watched(self.work):
                for region in self._manifest.trees:
                    self.work.mover.compare(
                        self.work.namespace,
                        self._backup_id,
                        Path(region.path),
                        covered=partial(covered, region) if covered else None,
                        progress=lambda copied: services.observer.copied(
                            self.work.volume_id, totals.of(copied)
                        ),
                        stopping=services.stopping,
                    )
        finally:
            self._mount.unmount()

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
