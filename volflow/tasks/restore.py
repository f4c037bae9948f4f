"""The copy of a restore: from the repository to the mounted target."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from volflow.disk import capacity, durable, sparse, special
from volflow.host.namespace import MountNamespace
from volflow.observers.totals import Totals
from volflow.repositories.attributes import Chosen, Kept, but_unread
from volflow.repositories.manifest import Manifest, Region
from volflow.tasks.attributes import tell_not_set
from volflow.tasks.base import Step
from volflow.tasks.flags import CLEARING, flags_kept, tell_replaced
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.mount import mounted
from volflow.tasks.work import Work


class RestoreData(Step):
    """Writes the backup's files to the target, with all their metadata and holes.

    This step has nothing to revert: other steps delete a new volume, and revert an existing one to
    its safety snapshot.
    """

    step = "copy"
    default_provides = "restored"

    def __init__(
        self,
        work: Work,
        backup_id: str,
        manifest: Manifest,
        *,
        over: bool = False,
    ) -> None:
        """
        :param over: keep existing files, unless the backup has a file with the same path
        """
        super().__init__(work)
        self._over = over
        self._backup_id, self._manifest = backup_id, manifest

    def execute(self) -> dict[str, int]:
        """How much was restored, as :class:`Figures` has it."""
        namespace = mounted(self.work)
        regions = self._manifest.trees
        paths = [Path(region.path) for region in regions]
        if self._over:
            with flags_kept(self.work, namespace, regions):
                regions = tuple(self._make_room(namespace, region) for region in regions)
                return self._copy(namespace, regions, paths)
        Kept(namespace, regions).lift()
        for region in regions:
            # Remove what a killed process wrote: restic fails on existing links.
            place = namespace.root / region.path
            namespace.run("find", place, "-xdev", "-mindepth", "1", "-delete")
            capacity.require(region.used, namespace, place)
        return self._copy(namespace, regions, paths)

    def _copy(
        self,
        namespace: MountNamespace,
        regions: Sequence[Region],
        paths: Sequence[Path],
        without: Sequence[Path] = (),
        chosen: Chosen = but_unread,
    ) -> dict[str, int]:
        """Write these paths of the backup, without some of those below them.

        :param regions: with the sparse files that they must have afterwards
        :param chosen: the same choice, of paths in a region
        :returns: how much was restored
        """
        services = self.services
        totals = Totals(services.catalogue, self._backup_id, self.work.repository.location)
        kept = Kept(namespace, regions if paths else ())
        with RepositoryLock.watched(self.work):
            self.work.mover.restore(
                namespace,
                self._backup_id,
                [*paths, *kept.paths()],
                without=without,
                progress=lambda copied: services.observer.copied(
                    self.work.volume_id, totals.of(copied)
                ),
                stopping=services.stopping,
            )
        for region in regions:
            place = namespace.root / region.path
            sparse.shape(namespace, place, region.sparse)
            special.make_sockets(namespace, place, region.sockets)
        tell_not_set(self.work, kept.apply(chosen, exact=self._over))
        for region in regions:
            place = namespace.root / region.path
            # Once this task has succeeded, a resumed run relies on it, even after a loss of power.
            durable.settle(namespace, place)
        return self._figures(namespace, totals)

    def _figures(self, namespace: MountNamespace, totals: Totals) -> dict[str, int]:
        files, size = totals.files, totals.bytes
        # Beside files that are kept, those of the backup cannot be counted.
        if not files and not self._over:
            sizes = [
                int(line)
                for region in self._manifest.trees
                for line in namespace.run(
                    *("find", namespace.root / region.path, "-xdev", "!", "-type", "d"),
                    *("-printf", "%s\\n"),
                ).split()
            ]
            files, size = len(sizes), sum(sizes)
        return {"files_new": files, "bytes_total": size}

    @property
    def unread(self) -> tuple[str, ...]:
        """The files that cannot be restored, because the backup could not read them."""
        return self._manifest.unread

    def _make_room(self, namespace: MountNamespace, region: Region) -> Region:
        """Remove the existing files that the backup's files replace.

        :returns: the region with all sparse files that it must have after the restore
        """
        place, wanted = namespace.root / region.path, region.sparse
        listed, files = [], {}
        for path, directory, _ in self.work.mover.paths(self._backup_id, Path(region.path)):
            listed.append(f"{'d' if directory else 'f'}{path}\0")
            # A file that could not be read is not in the backup: the existing one stays as it is.
            if path in wanted:
                files[path] = wanted[path]
        listed += [f"f{path}\0" for path in region.sockets]
        self._clear(namespace, region, listed)
        capacity.require_beside(region.used, namespace, place)
        return replace(region, sparse=sparse.find(namespace, place) | files)

    def _clear(self, namespace: MountNamespace, region: Region, listed: Sequence[str]) -> None:
        """Remove what exists at these paths, as :mod:`volflow.disk.clearing` takes them."""
        said = namespace.run(*CLEARING, namespace.root / region.path, stdin="".join(listed))
        if not region.attributes:
            flagged = [self._manifest.in_volume(f"{region.path}/{one}") for one in json.loads(said)]
            tell_replaced(self.work, flagged)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
