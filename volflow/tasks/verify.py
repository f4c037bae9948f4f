"""Proof that what was restored is on the volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from volflow.observers.totals import Totals
from volflow.repositories.manifest import Manifest
from volflow.tasks.base import Step
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.mount import Mount
from volflow.tasks.work import Work


class Verify(Step):
    """Compares what the volume holds with what is stored. Makes nothing.

    It comes when the file system has been unmounted, and mounts it anew: what is compared is read
    from the device, and not from what is still in memory of the writing.
    """

    step = "verify"

    def __init__(self, work: Work, backup_id: str, manifest: Manifest) -> None:
        super().__init__(work)
        self._backup_id, self._manifest = backup_id, manifest
        self._mount = Mount(work, read_only=True)

    def execute(self, device: str, file_system: dict[str, Any]) -> None:
        services = self.services
        totals = Totals(services.catalogue, self._backup_id, self.work.repository.location)
        services.host.privilege.run("blockdev", "--flushbufs", device)
        self._mount.execute(device, file_system)
        try:
            assert self.work.namespace is not None
            with RepositoryLock.watched(self.work):
                for region in self._manifest.regions:
                    self.work.mover.compare(
                        self.work.namespace,
                        self._backup_id,
                        Path(region.path),
                        progress=lambda copied: services.observer.copied(
                            self.work.volume_id, totals.of(copied)
                        ),
                        stopping=services.stopping,
                    )
        finally:
            self._mount.unmount()

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
