"""The copy of a backup: stores the volume's files, and then the verdict on them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from persistence import Backup, Entry, EntryState
from volflow.disk import capacity
from volflow.disk.attributed import Collected
from volflow.disk.regions import DiskRegion
from volflow.disk.survey import Survey
from volflow.disk.traffic import bytes_read
from volflow.errors import HostError, RepositoryError, VolflowError
from volflow.host.namespace import MountNamespace
from volflow.movers.base import MANIFEST, MountedTree, RawImage, Saved, StoredBackup
from volflow.repositories.images import image_of
from volflow.repositories.increment import Increment
from volflow.repositories.manifest import Manifest, Region
from volflow.results.outcome import Figures, Outcome, full_read
from volflow.tasks import attributes, missing
from volflow.tasks.base import Temporary
from volflow.tasks.lock import RepositoryLock
from volflow.tasks.remarks import Remark
from volflow.tasks.work import Work
from volflow.times import moment_of

LOG = logging.getLogger(__name__)


class Save(Temporary):
    """Makes sure that the backup is stored.

    It stores a copy first. Only then it is known which files could not be read. The last act is the
    verdict, which makes the copy a backup; its manifest lists these files. A stored backup is kept,
    whatever happens next: the revert only closes its ledger entry. A copy without a verdict stays
    unfinished, whatever happens to this process, and a revert removes it if it can.
    """

    kind = "backup"
    step = "copy"
    default_provides = "saved"

    def execute(
        self,
        description: dict[str, Any],
        snapshot: dict[str, Any],
        device: str,
    ) -> dict[str, Any]:
        services, namespace = self.services, self.work.namespace
        increment, disk = self.work.increment, self.work.disk
        if namespace is None or increment is None or disk is None:
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
        # By it the next backup knows whether it reads the same file system.
        tags["file_system"] = disk.identity
        tags |= increment.tags
        taken_at = increment.taken_at
        tags["number"] = str(services.numbers.get(self.work.volume_id, 0) + 1)
        entry = services.ledger.find(self.tag)
        # What a killed process of this run stored.
        earlier = _stored(self.work) if entry else None
        known = _known(entry, earlier)
        if known is None:
            self.intend(unchecked=True)
        surveys = increment.surveys
        trees = iter(surveys)
        regions = tuple(
            Region.of(one) if one.is_image else self._tree(namespace, one, next(trees))
            for one in disk.regions
        )
        missing.tell_not_kept(self.work, surveys)
        regions, held = attributes.collected(namespace, regions)
        manifest = Manifest(
            run_id=services.run_id,
            **description,
            snapshot=snapshot,
            regions=regions,
            layout=disk.layout.to_dict() if disk.layout else {},
        )
        attributes.tell_left_out(self.work, manifest, held)
        parent_id = _parent(increment, earlier, tags)
        with RepositoryLock.watched(self.work) as doubt:
            if known is None:
                known = self._store(
                    namespace, manifest, held, device, tags, taken_at, earlier, parent_id
                )
                self.present(known["id"], unchecked=True, **known)
            confirmed = (
                earlier is not None
                and earlier.finished
                and earlier.id.startswith(known["id"])
                and self.work.repository.holds(earlier)
            )
            if not confirmed and self._confirm(namespace, manifest, known, tags, taken_at):
                doubt()
        # From here on the backup counts, whatever happens next.
        self.present(known["id"], **known)
        services.catalogue.add(
            Backup(
                id=known["id"],
                repository=self.work.repository.location,
                volume_id=self.work.volume_id,
                volume_name=tags["name"],
                project_id=tags["project"],
                size_gib=int(tags["size"]),
                created_at=taken_at,
                run_id=services.run_id,
                parent_id=known["parent_id"],
                outcome=str(Outcome.PARTIAL if known["unread"] else Outcome.COMPLETE),
                figures=known["figures"] | full_read(moment_of(tags["full"])),
            )
        )
        services.ledger.gone(self.tag)
        return known

    @staticmethod
    def _tree(namespace: MountNamespace, region: DiskRegion, seen: Survey) -> Region:
        """What the manifest says of a region that is stored as files."""
        place, kind = namespace.root / region.path, region.file_system
        return Region.of(
            region,
            sparse=dict(seen.sparse),
            used=capacity.used(
                namespace, place, seen.used, fixed_inodes=bool(kind and not kind.is_xfs)
            ),
            sockets=missing.sockets(namespace, region.path, seen),
        )

    def _store(
        self,
        namespace: MountNamespace,
        manifest: Manifest,
        held: Sequence[Collected],
        device: str,
        tags: dict[str, str],
        taken_at: datetime,
        earlier: StoredBackup | None,
        parent_id: str | None,
    ) -> dict[str, Any]:
        """Store the volume, without a verdict.

        :param held: what is stored beside the files of each region
        :param earlier: what a killed process stored
        :param parent_id: files that have not changed since this backup are not read
        :returns: a :class:`Saved` and the id of the parent, as JSON values
        """
        services = self.services
        if earlier:
            tags["attempt"] = str(_attempt(earlier) + 1)
        namespace.write(namespace.root / MANIFEST, manifest.to_json())
        read_before = bytes_read(device)
        try:
            saved = self.work.mover.save(
                namespace,
                [
                    *(_moved(*one, device) for one in zip(manifest.regions, held, strict=True)),
                    *map(MountedTree, attributes.files(manifest.regions)),
                ],
                volume_id=self.work.volume_id,
                tags=tags,
                listed_at=_listed_at(taken_at, tags),
                parent_id=parent_id,
                progress=lambda copied: services.observer.copied(self.work.volume_id, copied),
                stopping=services.stopping,
            )
        except VolflowError:
            if earlier is None:
                # The revert need not look for what is not there.
                self.intend(unchecked=True, nothing_stored=True)
            raise
        figures = replace(saved.figures, bytes_read=bytes_read(device) - read_before)
        unread = missing.named(namespace, manifest, saved.unread)
        unread = tuple(dict.fromkeys((*unread, *attributes.unread(manifest, held))))
        missing.refuse_nothing(self.work.repository, saved.id, manifest, unread)
        return asdict(Saved(saved.id, figures, unread)) | {"parent_id": parent_id}

    def _confirm(
        self,
        namespace: MountNamespace,
        manifest: Manifest,
        known: Mapping[str, Any],
        tags: Mapping[str, str],
        taken_at: datetime,
    ) -> bool:
        """Store the verdict, which lists the files that could not be read.

        :returns: whether the storage has lost something that it had accepted
        """
        unread = known["unread"]
        namespace.write(namespace.root / MANIFEST, manifest.without(unread).to_json())
        figures = Figures(**known["figures"])
        more = {"files": str(figures.files_total)}
        if unread:
            more["unread"] = str(len(unread))
            before = missing.files_before(self.work, tags, taken_at)
            if before and figures.files_total < missing.FEW * before:
                more["files_before"] = str(before)
                Remark.MISSING.of(self.work, missing.far_fewer(figures.files_total, before))
        return self.work.mover.confirm(
            namespace,
            known["id"],
            volume_id=self.work.volume_id,
            tags={**tags, **more},
            listed_at=_listed_at(taken_at, tags),
            stopping=self.services.stopping,
        )

    def revert(self, *args: Any, **kwargs: Any) -> None:
        RepositoryLock.release(self.work)
        super().revert(*args, **kwargs)

    @classmethod
    def remove(cls, work: Work, entry: Entry) -> None:
        if entry.details.get("nothing_stored"):
            return
        try:
            stored = _stored(work)
            if stored is None:
                return
            counts = stored.finished and entry.state is EntryState.PRESENT
            if counts and work.repository.holds(stored):
                # The process was killed after the verdict, before it could record it.
                if entry.resource_id and stored.id.startswith(entry.resource_id):
                    work.services.ledger.present(
                        entry.tag, entry.resource_id, details=_without_mark(entry)
                    )
                return
            # A copy of release 0.1.0 looks finished; with this tag it is.
            if counts or not (stored.finished and stored.unread):
                work.repository.forget(stored.id)
        except RepositoryError as error:
            if entry.details.get("unfinished"):
                raise  # Release 0.1.0 stored it without the tag that makes it unfinished.
            LOG.info("The unfinished copy of %s stays for now: %s", work.volume_id, error)


def _moved(region: Region, held: Collected, device: str) -> MountedTree | RawImage:
    """What the mover gets to see of a region."""
    if region.is_image:
        return image_of(region, device)
    return MountedTree(Path(region.path), held.encrypted)


def _parent(increment: Increment, earlier: StoredBackup | None, tags: dict[str, str]) -> str | None:
    """The id of the parent, if any; and since when nothing was read completely, in the tags.

    :param earlier: what a killed process stored of the same snapshot. As the parent it spares
        reading every file again; files that could not be read are not in it, so they are tried
        again.
    """
    if earlier is None:
        return increment.parent.id if increment.parent else None
    if increment.parent is None and earlier.tags.get("full") != tags["full"]:
        return None  # it has not read everything, and this backup must
    tags["full"] = earlier.tags.get("full", tags["full"])
    return earlier.id


def _known(entry: Entry | None, earlier: StoredBackup | None) -> dict[str, Any] | None:
    """What the ledger knows of a copy that is in the repository: which files are missing in it."""
    if entry is None or earlier is None or not entry.resource_id:
        return None
    counted = earlier.finished and "unchecked" not in entry.details
    if not (entry.state is EntryState.PRESENT or (entry.state is EntryState.GONE and counted)):
        return None
    known = _without_mark(entry)
    return known if earlier.id.startswith(entry.resource_id) and "unread" in known else None


def _without_mark(entry: Entry) -> dict[str, Any]:
    return {key: value for key, value in entry.details.items() if key != "unchecked"}


def _attempt(earlier: StoredBackup) -> int:
    found = earlier.tags.get("attempt", "")
    return int(found) if found.isdecimal() else 0


def _listed_at(taken_at: datetime, tags: Mapping[str, str]) -> datetime:
    """The time for the repository's own tools: of two copies by one run, the later one is later."""
    return taken_at + timedelta(seconds=int(tags.get("attempt", "0")))


def _stored(work: Work) -> StoredBackup | None:
    """What this run has stored of the volume, if anything; a backup if it is one."""
    mine = (work.services.run_id, work.volume_id)
    for backup in work.repository.backups():
        if (backup.tags.get("run"), backup.tags.get("volume")) == mine:
            return backup
    return None
