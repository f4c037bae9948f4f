"""The copy of a backup: stores the volume's files and the manifest together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from persistence import Backup, Entry
from volflow.disk import sparse
from volflow.disk.traffic import bytes_read
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.movers.base import MANIFEST, MountedTree, Saved, StoredBackup
from volflow.repositories.manifest import Manifest, Region, region_path
from volflow.results.outcome import Figures, Outcome
from volflow.tasks.base import Temporary
from volflow.tasks.filesystem import found_file_systems
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.work import Work


class Save(Temporary):
    """Makes sure that the backup is stored.

    A stored backup is kept, whatever happens next: the revert only closes its ledger entry, which
    lets a resumed run find what an earlier process stored. The manifest lists the files that could
    not be read. They are known only after the copy, so volflow then stores the volume again, with
    the first copy as the parent: no file is read twice. The last copy that a run stores of a volume
    is its backup.
    """

    kind = "backup"
    step = "copy"
    default_provides = "saved"

    def execute(
        self,
        description: dict[str, Any],
        snapshot: dict[str, Any],
        device: str,
        file_system: dict[str, Any],
    ) -> dict[str, Any]:
        services, namespace = self.services, self.work.namespace
        if namespace is None:
            raise HostError("The volume is not mounted.")
        project_id = description["volume"].get("os-vol-tenant-attr:tenant_id") or ""
        tags = {
            "run": services.run_id,
            "volume": self.work.volume_id,
            "name": description["volume"]["name"] or "",
            "project": project_id,
            "size": str(snapshot["size"]),
            "group": description["volume"].get("group_id") or "",
            # From it a restore of the project knows which volumes no longer existed.
            "whole": str(services.volumes_in_project.get(project_id, "")),
        }
        # The parent is what was stored before a kill: the second copy reads no file again, and
        # reports again which files cannot be read.
        earlier = self._stored_earlier()
        parent_id = earlier.id if earlier else services.parents.get(self.work.volume_id)
        self.intend(unfinished=earlier is not None)
        size = services.host.device_size(device)
        regions = tuple(
            Region(
                path=str(region_path(number)),
                size=size,
                file_system=found,
                sparse=sparse.find(namespace, namespace.root / region_path(number)),
            )
            for number, found in enumerate(found_file_systems(file_system))
        )
        manifest = Manifest(
            run_id=services.run_id, **description, snapshot=snapshot, regions=regions
        )
        read_before = bytes_read(device)
        saved = self._store(namespace, manifest, tags, parent_id)
        figures = replace(saved.figures, bytes_read=bytes_read(device) - read_before)
        saved = replace(saved, figures=figures)
        result = asdict(saved) | {"parent_id": parent_id}
        # From here on the backup counts, whatever happens next.
        self.present(saved.id, **result)
        services.catalogue.add(
            Backup(
                id=saved.id,
                repository=self.work.repository.location,
                volume_id=self.work.volume_id,
                volume_name=tags["name"],
                project_id=tags["project"],
                size_gib=int(tags["size"]),
                created_at=datetime.now(UTC),
                run_id=services.run_id,
                parent_id=parent_id,
                outcome=str(Outcome.PARTIAL if saved.unread else Outcome.COMPLETE),
                figures=asdict(saved.figures),
            )
        )
        services.ledger.gone(self.tag)
        return result

    def _store(
        self,
        namespace: MountNamespace,
        manifest: Manifest,
        tags: Mapping[str, str],
        parent_id: str | None,
    ) -> Saved:
        """Store the volume with its manifest, which lists the files that could not be read."""
        unread: tuple[str, ...] = ()
        figures: Figures | None = None
        while True:
            extra = {"unread": str(len(unread))} if unread else {}
            namespace.write(namespace.root / MANIFEST, manifest.without(unread).to_json())
            trees = [MountedTree(Path(region.path)) for region in manifest.regions]
            saved = self._save_once(namespace, trees, {**tags, **extra}, parent_id)
            stored = saved.figures.bytes_stored + (figures.bytes_stored if figures else 0)
            figures = replace(figures or saved.figures, bytes_stored=stored)
            found = dict.fromkeys(manifest.in_volume(path) for path in saved.unread)
            # The loop ends, because each round finds more unreadable files than the last.
            if found.keys() <= set(unread):
                return replace(saved, unread=unread, figures=figures)
            unread, parent_id = tuple(dict.fromkeys([*unread, *found])), saved.id
            self.intend(unfinished=True)

    def _save_once(
        self,
        namespace: MountNamespace,
        trees: Sequence[MountedTree],
        tags: Mapping[str, str],
        parent_id: str | None,
    ) -> Saved:
        services = self.services
        with RepositoryLock.watched(self.work):
            return self.work.mover.save(
                namespace,
                trees,
                volume_id=self.work.volume_id,
                tags=tags,
                parent_id=parent_id,
                progress=lambda copied: services.observer.copied(self.work.volume_id, copied),
                stopping=services.stopping,
            )

    def _stored_earlier(self) -> StoredBackup | None:
        """The backup that a killed process of this run stored."""
        if self.services.ledger.find(self.tag) is None:
            return None
        return _stored(self.work)

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
        super().revert(*args, **kwargs)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        stored = _stored(work) if entry.details.get("unfinished") else None
        if stored and not stored.unread:
            # Its manifest may lack files that could not be read.
            work.repository.forget(stored.id)


def _stored(work: Work) -> StoredBackup | None:
    """The backup of the volume that this run has stored, if any."""
    mine = (work.services.run_id, work.volume_id)
    for backup in work.repository.backups():
        if (backup.tags.get("run"), backup.tags.get("volume")) == mine:
            return backup
    return None
