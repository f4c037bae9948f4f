"""The way back of the data: from the repository to the mounted target."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from volflow.disk import clearing, sparse
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.observers.totals import Totals
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks.base import Step
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.work import Work

# What is run must not depend on what is installed or set here.
_CLEARING = (sys.executable, "-I", "-S", clearing.__file__)


class RestoreData(Step):
    """Writes the backup's files to the target, with all their metadata and holes.

    There is no data to revert here: a new volume is deleted, and one that was there before goes
    back to its safety snapshot.
    """

    step = "copy"

    def __init__(
        self,
        work: Work,
        backup_id: str,
        manifest: Manifest,
        *,
        over: bool = False,
    ) -> None:
        """
        :param over: what is there already stays, unless the backup has something of that path
        """
        super().__init__(work)
        self._over = over
        self._backup_id, self._manifest = backup_id, manifest

    def execute(self) -> None:
        services, namespace = self.services, self.work.namespace
        if namespace is None:
            raise HostError("The volume is not mounted.")
        regions = self._manifest.regions
        if self._over:
            regions = tuple(self._make_room(namespace, region) for region in regions)
        else:
            for region in regions:
                # What a killed process has written: restic fails on links that exist.
                place = namespace.root / region.path
                namespace.run("find", place, "-xdev", "-mindepth", "1", "-delete")
        totals = Totals(services.catalogue, self._backup_id, self.work.repository.location)
        with RepositoryLock.watched(self.work):
            self.work.mover.restore(
                namespace,
                self._backup_id,
                [Path(region.path) for region in regions],
                progress=lambda copied: services.observer.copied(
                    self.work.volume_id, totals.of(copied)
                ),
                stopping=services.stopping,
            )
        for region in regions:
            place = namespace.root / region.path
            sparse.shape(namespace, place, region.sparse)
            # Once this task has succeeded, a resumed run relies on it, even after a loss of power.
            namespace.run("sync", "--file-system", place)

    @property
    def unread(self) -> tuple[str, ...]:
        """What cannot be restored, because it could not be read when it was backed up."""
        return self._manifest.unread

    def _make_room(self, namespace: MountNamespace, region: Region) -> Region:
        """Remove what is in the place of the backup's files.

        :returns: the region with all the sparse files that it must have
        """
        place, wanted = namespace.root / region.path, region.sparse
        listed, files = [], {}
        for path, directory in self.work.mover.paths(self._backup_id, Path(region.path)):
            listed.append(f"{'d' if directory else 'f'}{path}\0")
            # One that could not be read is not in the backup: what stands there keeps its own.
            if path in wanted:
                files[path] = wanted[path]
        namespace.run(*_CLEARING, place, stdin="".join(listed))
        return replace(region, sparse=sparse.find(namespace, place) | files)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
