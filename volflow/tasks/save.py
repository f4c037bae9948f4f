"""The backup itself: the volume's files and its manifest, stored as one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from persistence import Backup, Entry
from volflow.disk import holes
from volflow.disk.filesystem import FileSystem
from volflow.disk.holes import Sparse
from volflow.disk.traffic import bytes_read
from volflow.errors import HostError
from volflow.host.connector import device_size
from volflow.host.namespace import MountNamespace
from volflow.manifest import Manifest, Region
from volflow.movers.base import MANIFEST
from volflow.result import Outcome
from volflow.tasks.base import Temporary
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.mount import REGION
from volflow.tasks.work import Work


class Save(Temporary):
    """Makes sure that the backup is stored.

    A stored backup is kept, whatever happens next: the revert only strikes it from the ledger,
    where it stands so that a resumed run finds what an earlier process has stored.
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
            # By it a restore of the project tells which volumes there were no more.
            "whole": str(services.whole.get(project_id, "")),
        }
        # With what was stored before a kill as its parent, a second copy reads nothing again, and
        # tells anew what cannot be read.
        parent_id = self._stored_earlier() or services.parents.get(self.work.volume_id)
        self.intend()
        region = Region(
            path=str(REGION),
            size=device_size(device),
            file_system=FileSystem(**file_system),
            sparse=_sparse_files(namespace),
        )
        manifest = Manifest(
            run_id=services.run_id, **description, snapshot=snapshot, regions=(region,)
        )
        namespace.write(namespace.root / MANIFEST, manifest.to_json())
        read_before = bytes_read(device)
        with RepositoryLock.watched(self.work):
            saved = self.work.mover.save(
                namespace,
                volume_id=self.work.volume_id,
                tags=tags,
                parent_id=parent_id,
                progress=lambda copied: services.progress.copied(self.work.volume_id, copied),
                stopping=services.stopping,
            )
        # There is one region so far: to people, its paths are the volume's.
        unread = tuple(path.removeprefix(str(REGION)) for path in saved.unread)
        figures = replace(saved.figures, bytes_read=bytes_read(device) - read_before)
        saved = replace(saved, figures=figures)
        result = asdict(saved) | {"unread": unread, "parent_id": parent_id}
        # From here on the backup counts, whatever happens next.
        self.present(saved.id, **result)
        services.catalogue.add(
            Backup(
                id=saved.id,
                repository=self.work.mover.location,
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

    def _stored_earlier(self) -> str | None:
        """The backup that a process of this run has stored before it was killed."""
        if self.services.ledger.find(self.tag) is None:
            return None
        mine = (self.services.run_id, self.work.volume_id)
        for backup in self.work.mover.backups():
            if (backup.tags.get("run"), backup.tags.get("volume")) == mine:
                return backup.id
        return None

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
        super().revert(*args, **kwargs)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        return


def _sparse_files(namespace: MountNamespace) -> dict[str, Sparse]:
    out = namespace.run(sys.executable, "-I", "-S", holes.__file__, "find", namespace.root / REGION)
    found: dict[str, Sparse] = json.loads(out)
    return found
