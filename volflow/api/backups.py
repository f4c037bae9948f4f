"""Backups: create, list and find them, look into them, verify, export and delete them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from volflow.api.mount import MountedBackup, mounted
from volflow.cloud.patience import impatient
from volflow.cloud.volumes import project_of
from volflow.context import Context
from volflow.errors import UsageError, VolflowError
from volflow.movers.base import STORES_WITH, Change, Node, StoredBackup
from volflow.observers.hooks import refusals
from volflow.plans.backup import BackupPlan, BackupPlanner
from volflow.plans.named import find_named
from volflow.plans.selection import Selection
from volflow.repositories.backups import doubts, find_by_id
from volflow.repositories.contents import BackupContents
from volflow.repositories.export import Exporter
from volflow.repositories.manifest import Manifest
from volflow.repositories.opened import free_bytes
from volflow.results.outcome import Figures, RunResult
from volflow.results.request import BackupRequest
from volflow.runs.prepare import load_libraries, prepare
from volflow.runs.request import create_run

LOG = logging.getLogger(__name__)

# A catalogue that was made from the repository has none of them.
_FIGURES = {one.name for one in fields(Figures)}


class BackupApi:
    """Operations on backups: ``volflow.backups``.

    Where a method takes a backup, pass a :class:`~volflow.StoredBackup`, or what :meth:`find`
    takes: the id of a backup or its beginning, or the id or name of a volume for its last backup.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def create(
        self,
        selection: Selection | Sequence[str],
        *,
        full: bool = False,
        image: bool = False,
        parallel: int | None = None,
    ) -> RunResult:
        """Back up volumes: plan the backup and run it.

        :param selection: the volumes, or a list of their ids or names
        :param full: read every file, not only those that changed since the last backup
        :param image: store each volume as one image, whatever is on it
        :param parallel: maximum number of volumes in parallel; ``[backup] parallel`` by default
        :returns: the outcome of each volume and of the run; later failures are in it
        :raises VolflowError: the backup cannot start; nothing was created
        :raises SuspendedError: the run was suspended; it can be resumed
        """
        with refusals(self._context.conf.hooks, "backup"):
            plan = self.plan(selection, parallel=parallel)
        return self.run(plan, full=full, image=image)

    def plan(
        self, selection: Selection | Sequence[str], *, parallel: int | None = None
    ) -> BackupPlan:
        """Find the selected volumes and check that they can be backed up. Creates nothing.

        :param selection: the volumes, or a list of their ids or names
        :param parallel: maximum number of volumes in parallel; ``[backup] parallel`` by default
        :raises VolflowError: the backup would fail
        """
        selection = Selection.of(selection)
        stored, context = prepare(self._context), self._context
        planner = BackupPlanner(
            context.cloud,
            context.repositories,
            context.host.connector,
            context.backups,
            as_tenant=context.conf.cloud.act_in == "tenant",
        )
        return planner.plan(selection, stored, parallel or context.conf.backup.parallel)

    def run(self, plan: BackupPlan, *, full: bool = False, image: bool = False) -> RunResult:
        """Run a planned backup.

        :param plan: what :meth:`plan` returned
        :param full: read every file, not only those that changed since the last backup
        :param image: store each volume as one image, whatever is on it
        :returns: the outcome of each volume and of the run
        :raises SuspendedError: the run was suspended; it can be resumed
        """
        context, selected = self._context, plan.selected
        request = BackupRequest(
            full=full,
            image=image,
            parallel=plan.parallel,
            groups=selected.groups,
            consistent=plan.consistent,
            volumes_in_project=plan.volumes_in_project,
            by_filter=plan.by_filter,
            sizes={volume["id"]: int(volume["size"]) for volume in selected.volumes},
            left_out=tuple(selected.left_out),
            notes=tuple(selected.notes),
            projects={volume["id"]: project_of(volume) for volume in selected.volumes},
            # Which project owns the temporary resources, and whose quota they use.
            act_in=context.conf.cloud.act_in,
            repository=context.repositories.location,
            # Under another login, what the run creates would seem not to exist.
            login=context.cloud.login.to_dict(),
        )
        volumes = [(volume["id"], volume["name"] or "") for volume in selected.volumes]
        with context.stop.driving():
            run = create_run(context.state, request, volumes, keep_days=context.conf.keep_runs)
            load_libraries()
            from volflow.runs.drive import drive

            return drive(context, run, plan.stored)

    def steps(self, *, in_group: bool = False) -> list[str]:
        """List the steps of the backup of one volume, in order.

        :param in_group: of a volume that shares a group snapshot with others
        """
        load_libraries()
        from volflow.runs.build import backup_steps
        from volflow.runs.work import WorkFactory

        return backup_steps(WorkFactory(self._context).without_run(), in_group=in_group)

    def full_reads_due(self, plan: BackupPlan) -> frozenset[str]:
        """Return the ids of the volumes that a backup now would read completely by schedule.

        Volumes without a backup are not among them, although they are read completely too.

        :param plan: what :meth:`plan` returned
        """
        every = timedelta(days=self._context.conf.backup.full_every)
        return plan.full_reads_due(datetime.now(UTC), every)

    @property
    def quiesce_commands(self) -> tuple[str, str] | None:
        """The commands that run before and after each snapshot; None if there are none."""
        options = self._context.conf.quiesce
        return (options.pre_command, options.post_command) if options.pre_command else None

    @property
    def least_free_bytes(self) -> int:
        """The free space without which a repository in a directory takes no backup at all."""
        return STORES_WITH

    def free_bytes(self, plan: BackupPlan) -> dict[str, int]:
        """Return the free space of the repositories that a backup writes to.

        :param plan: what :meth:`plan` returned
        :returns: free bytes by location; only of repositories in a directory of this host
        """
        projects = {project_of(volume) for volume in plan.selected.volumes}
        repositories = [self._context.repositories.of(one) for one in projects]
        found = {one.location: free_bytes(one.local_path) for one in repositories}
        return {name: free for name, free in found.items() if free is not None}

    def list(
        self, *, volume: str | None = None, projects: Iterable[str] | None = None
    ) -> list[StoredBackup]:
        """List the backups in the repository, the oldest data first.

        :param volume: only those of the volume with this id or name
        :param projects: where each project has its own repository: look in those of these
            projects; in that of the login's project by default
        :raises RepositoryError: a repository is missing, refuses or fails
        """
        return [
            backup
            for backup in self._context.backups.backups(projects)
            if volume in (None, backup.tags.get("volume"), backup.tags.get("name"))
        ]

    def list_everywhere(
        self, *, volume: str | None = None
    ) -> tuple[Sequence[StoredBackup], dict[str, VolflowError]]:
        """List the backups of all projects.

        :param volume: only those of the volume with this id or name
        :returns: the backups, the oldest data first; and where each project has its own repository,
            what is wrong with those that cannot be used, by the id of the project
        :raises CloudError: Keystone does not list the projects
        """
        stored, troubles = self._context.backups.look_everywhere()
        return [
            backup
            for backup in stored
            if volume is None or volume in (backup.tags.get("volume"), backup.tags.get("name"))
        ], troubles

    def find(
        self,
        name_or_id: str,
        *,
        at: datetime | None = None,
        among: Sequence[StoredBackup] | None = None,
        complete: bool = False,
    ) -> StoredBackup:
        """Find a backup by its id or the beginning of it, or by its volume.

        :param name_or_id: id of a backup or its beginning, or id or name of a volume for its last
            backup
        :param at: only among the backups that existed at this moment
        :param among: only among these backups, as :meth:`list` returned them: the repository is
            not asked again
        :param complete: prefer the last complete backup of a volume, as a restore does
        :raises NoBackupThenError: all that match are later than ``at``
        :raises BackupNotFoundError: no backup matches
        :raises AmbiguousNameError: several volumes have, or had, that name
        :raises UsageError: several backups match
        """
        found = find_named(
            *(self.list() if among is None else among, name_or_id),
            at=at,
            exists=self._exists,
            complete=complete,
        )
        if found.note:
            LOG.warning("%s", found.note)
        return found.backup

    def get(self, backup_id: str, *, among: Sequence[StoredBackup] | None = None) -> StoredBackup:
        """Get a backup by its id or the beginning of it.

        :param among: only among these backups, as :meth:`list` returned them: the repository is
            not asked again
        :raises BackupNotFoundError: no backup matches
        :raises UsageError: several backups match
        """
        return find_by_id(self.list() if among is None else among, backup_id)

    def doubts(self, backups: Iterable[StoredBackup]) -> Sequence[str]:
        """Return a sentence for each backup that is unfinished or of the future."""
        return doubts(backups)

    def manifest(self, backup: StoredBackup | str) -> Manifest:
        """Read a backup's manifest: the volume's properties and regions at the time.

        :raises RepositoryError: it cannot be read
        """
        return self._context.backups.manifest(self._found(backup))

    def figures(self, backups: Iterable[StoredBackup]) -> dict[str, Figures]:
        """Return how much each backup read and stored, as the state database knows it.

        :returns: figures by the id of the backup; only of those that the catalogue knows
        """
        location = self._context.repositories.of().location
        # Old versions of restic report the beginning of an id only.
        known = {
            row.id[:8]: row.figures
            for row in self._context.state.catalogue.list(repository=location)
            if row.figures.keys() & _FIGURES
        }
        return {
            backup.id: Figures.of(known[backup.id[:8]])
            for backup in backups
            if backup.id[:8] in known
        }

    def files(
        self, backup: StoredBackup | str, path: str = "/", *, recursive: bool = False
    ) -> Sequence[Node]:
        """List the files in a directory of a backup.

        :param path: a directory or file in the volume
        :param recursive: list the subdirectories too
        :raises RepositoryError: the backup does not have this path
        """
        return self._contents(self._found(backup)).list(path, recursive=recursive)

    def changes(
        self, old: StoredBackup | str, new: StoredBackup | str, *, metadata: bool = False
    ) -> Iterator[Change]:
        """Compare two backups of a volume.

        :param metadata: report files too of which only owner, mode, times or attributes changed
        :returns: the paths that were added, removed or changed
        :raises UsageError: the backups are of different volumes
        :raises RepositoryError: restic could not compare them
        """
        old, new = self._found(old), self._found(new)
        if old.tags.get("volume") != new.tags.get("volume"):
            raise UsageError("These are backups of two volumes; compare two of one volume.")
        return self._contents(old).changes(new.id, metadata=metadata)

    def verify(self, backup: StoredBackup | str) -> int:
        """Read a whole backup and compare it with the checksums in the repository.

        :meth:`volflow.repositories.check <volflow.api.repositories.RepositoryApi.check>` reads a
        sample of the whole repository.

        :returns: bytes read
        :raises RepositoryError: data is missing or damaged
        """
        return self._contents(self._found(backup)).read_all()

    def mount(
        self, backup: StoredBackup | str, directory: Path
    ) -> AbstractContextManager[MountedBackup]:
        """Mount a backup read-only at a directory while a ``with`` block runs.

        :param directory: an empty directory
        :raises UsageError: the directory does not exist, is not empty or cannot be read
        :raises HostError: this host has no FUSE, or restic could not mount the backup
        """
        return mounted(self._context, lambda: self._found(backup), directory, self._contents)

    def export(self, backup: StoredBackup | str) -> Exporter:
        """Write a backup to a directory or a disk image. Neither needs Cinder.

        :returns: :meth:`~volflow.Exporter.to_directory` extracts all files or some of them,
            :meth:`~volflow.Exporter.to_image` writes a raw or qcow2 image
        :raises HostError: this process may not mount
        """
        context, backup = self._context, self._found(backup)
        context.host.privilege.check()
        return Exporter(
            backup,
            context.backups.manifest(backup),
            context.repositories.mover(backup.tags.get("project")),
            self._contents(backup),
            context.host,
            context.rehearsal,
            context.observer,
            context.stop,
        )

    def delete(self, *backups: StoredBackup | str) -> None:
        """Delete backups. Their data stays in the repository until it is pruned.

        :param backups: backups, ids of backups or their beginnings. The name of a volume is not
            accepted: it would mean its last backup.
        :raises BackupNotFoundError: a backup does not exist; then none is deleted
        :raises RepositoryError: the repository refuses
        """
        named = [one for one in backups if isinstance(one, str)]
        stored = self.list() if named else []
        chosen = [self.get(one, among=stored) if isinstance(one, str) else one for one in backups]
        for backup in chosen:
            repository = self._context.repositories.of(backup.tags.get("project"))
            repository.forget(backup.id)
            self._context.state.catalogue.remove(backup.id, repository.location)

    def _exists(self, volume_id: str) -> bool | None:
        """Whether a volume exists; None if Cinder cannot tell.

        Backups are found without it too: whoever looks for one where the cloud is gone does not
        wait for it.
        """
        try:
            with impatient():
                return self._context.cloud.cinder.volumes.existing(volume_id) is not None
        except VolflowError as error:
            LOG.info("It is not known whether volume %s exists: %s", volume_id, error)
            return None

    def _found(self, backup: StoredBackup | str) -> StoredBackup:
        return self.find(backup) if isinstance(backup, str) else backup

    def _contents(self, backup: StoredBackup) -> BackupContents:
        return self._context.backups.contents(backup)
