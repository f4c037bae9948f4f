"""Finds backups. The repositories are authoritative, not the state database."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from persistence import Backup, Catalogue
from volflow import times
from volflow.errors import (
    BackupNotFoundError,
    ConfigError,
    NoRepositoryError,
    RepositoryError,
    UsageError,
    VolflowError,
)
from volflow.movers.base import StoredBackup
from volflow.repositories.contents import BackupContents
from volflow.repositories.manifest import Manifest
from volflow.repositories.opened import Repositories
from volflow.results.outcome import Outcome, full_read

LOG = logging.getLogger(__name__)

# The number of backups to name that are passed over.
_NAMED = 3


class Backups:
    """The backups in the repository, or in the repositories of several projects.

    :param catalogue: returns the catalogue of the state database
    :param home: returns the id of the login's project
    :param projects: lists the ids of the cloud's projects that the user may see
    """

    def __init__(
        self,
        repositories: Repositories,
        catalogue: Callable[[], Catalogue],
        *,
        home: Callable[[], str | None],
        projects: Callable[[], Sequence[str]],
    ) -> None:
        self._repositories = repositories
        self._catalogue = catalogue
        self._home = home
        self._projects = projects
        self._manifests: dict[str, Manifest] = {}

    def backups(self, projects: Iterable[str] | None = None) -> list[StoredBackup]:
        """All backups, the oldest first.

        :param projects: if each project has its own repository, look in those of these projects;
            the login's project by default
        :raises RepositoryError: a repository is missing, refuses or fails
        """
        stored, troubles = self.look(projects)
        for error in troubles.values():
            raise error
        return stored

    def look(
        self, projects: Iterable[str] | None = None
    ) -> tuple[list[StoredBackup], dict[str, VolflowError]]:
        """List the backups, and what is wrong with repositories that cannot be used.

        :param projects: as for :meth:`backups`
        :returns: all backups that were found, the oldest first; errors by project
        """
        if not self._repositories.per_project:
            found = self._repositories.of().backups()
            return in_order(one for one in found if one.tags.get("volume")), {}
        login = str(self._home())
        wanted = [login] if projects is None else sorted(set(projects))
        stored: list[StoredBackup] = []
        troubles: dict[str, VolflowError] = {}
        with ThreadPoolExecutor(os.cpu_count(), "repository") as pool:
            jobs = {one: pool.submit(self._of_project, one, login) for one in wanted}
        for project_id, job in jobs.items():
            try:
                stored += job.result()
            except (RepositoryError, ConfigError) as error:
                troubles[project_id] = error
        return in_order(stored), troubles

    def look_everywhere(
        self, named: Iterable[str] = ()
    ) -> tuple[list[StoredBackup], dict[str, VolflowError]]:
        """List the backups of all projects, and what is wrong with unusable repositories.

        Covers the projects with backups in the state database, the named ones, and all that
        Keystone lists. Many of the last have no repository, such as the administrator's project and
        projects without volumes: for them a missing repository is not an error.

        :param named: ids of projects that must have a repository
        :returns: all backups that were found, the oldest first; errors by project
        :raises CloudError: Keystone does not list the projects
        """
        if not self._repositories.per_project:
            return self.look()
        sure = self._catalogued_projects() | set(named)
        stored, troubles = self.look(sure | set(self._projects()))
        doubtful = sorted(troubles.keys() - sure)
        with ThreadPoolExecutor(os.cpu_count(), "repository") as pool:
            there = pool.map(self._has_repository, doubtful, map(troubles.get, doubtful))
        for project_id, found in zip(doubtful, there, strict=True):
            if found:
                continue
            LOG.info("Project %s has no repository", project_id)
            del troubles[project_id]
        return stored, troubles

    def _has_repository(self, project_id: str, trouble: VolflowError | None) -> bool:
        """Whether a project has a repository, or may have one, that could not be used."""
        if isinstance(trouble, NoRepositoryError):
            return False
        try:
            # Its password may be missing because there is no repository.
            return self._repositories.of(project_id).exists()
        except VolflowError as error:
            LOG.info("It is not known whether project %s has a repository: %s", project_id, error)
            return True

    def _catalogued_projects(self) -> set[str]:
        """The projects with backups in the state database and in the configured repositories."""
        found = set()
        rows = self._catalogue().list()
        for project_id, repository in {(row.project_id, row.repository) for row in rows}:
            try:
                here = self._repositories.of(project_id).location == repository
            except ConfigError:
                # Whoever has a repository's password can write any project id into it.
                continue
            if here and project_id:
                found.add(project_id)
        return found

    def _of_project(self, project_id: str, login: str) -> list[StoredBackup]:
        """The backups in a project's repository that belong to the project.

        Whoever has a repository's password can write anything into it. That must not redirect a
        restore of several projects into another project.
        """
        return [
            backup
            for backup in self._repositories.of(project_id).backups()
            if backup.tags.get("volume") and (backup.tags.get("project") or login) == project_id
        ]

    def rebuild_catalogue(self, project_id: str | None = None) -> int:
        """Replace the backups of a repository in the catalogue with those in the repository.

        :returns: the number of backups
        """
        repository, catalogue = self._repositories.of(project_id), self._catalogue()
        location = repository.location
        known = {b.id: b for b in catalogue.list(repository=location)}
        stored = [backup for backup in repository.backups() if backup.finished]
        catalogue.replace(
            location, [known.get(backup.id) or _catalogued(backup, location) for backup in stored]
        )
        return len(stored)

    def manifest(self, backup: StoredBackup) -> Manifest:
        """The manifest of a backup. It never changes, so it is read once.

        :raises RepositoryError: it cannot be read, or belongs to another volume
        """
        # An unfinished copy gets another one with its verdict.
        known = backup.verdict_id
        if known not in self._manifests:
            repository = self._repositories.of(backup.tags.get("project"))
            manifest = Manifest.from_json(repository.manifest(known))
            if manifest.volume_id != backup.tags.get("volume"):
                raise RepositoryError(
                    f"Backup {backup.id[:8]} is tagged as one of volume "
                    f"{backup.tags.get('volume')}, but its manifest is of volume "
                    f"{manifest.volume_id}."
                )
            self._manifests[known] = manifest
        return self._manifests[known]

    def contents(self, backup: StoredBackup) -> BackupContents:
        """The files of a backup.

        :raises RepositoryError: its manifest cannot be read
        """
        repository = self._repositories.of(backup.tags.get("project"))
        return BackupContents(repository, backup.id, self.manifest(backup))

    def manifests(
        self, backups: Sequence[StoredBackup]
    ) -> tuple[dict[str, Manifest], dict[str, VolflowError]]:
        """Read the manifests of several backups in parallel.

        :returns: manifests by the id of the backup, and errors by the id of the backup
        """
        found: dict[str, Manifest] = {}
        troubles: dict[str, VolflowError] = {}
        # restic takes most of a second for each, mostly of CPU time.
        with ThreadPoolExecutor(os.cpu_count(), "manifest") as pool:
            jobs = {backup.id: pool.submit(self.manifest, backup) for backup in backups}
        for backup_id, job in jobs.items():
            try:
                found[backup_id] = job.result()
            except VolflowError as error:
                troubles[backup_id] = error
        return found, troubles


def _catalogued(backup: StoredBackup, location: str) -> Backup:
    tags = backup.tags
    return Backup(
        id=backup.id,
        repository=location,
        volume_id=tags.get("volume", ""),
        volume_name=tags.get("name", ""),
        project_id=tags.get("project", ""),
        size_gib=int(tags.get("size", 0)),
        created_at=backup.taken_at,
        run_id=tags.get("run", ""),
        parent_id=None,
        outcome=str(backup.outcome),
        figures=full_read(backup.full_at),
    )


class AmbiguousNameError(UsageError):
    """Several volumes with backups have, or had, this name.

    :ivar candidates: the last backup of each of these volumes, the oldest first
    """

    def __init__(self, name: str, candidates: Sequence[StoredBackup]) -> None:
        ids = ", ".join(sorted(str(one.tags.get("volume")) for one in candidates))
        super().__init__(f"Backups of {len(candidates)} volumes named '{name}'; give an id: {ids}")
        self.candidates = tuple(candidates)


class NoBackupThenError(BackupNotFoundError):
    """There are backups, but none of a time so early.

    :ivar first: the time of the first one
    """

    def __init__(self, what: str, at: datetime, first: datetime) -> None:
        super().__init__(
            f"{times.local(at)} is before the first backup{what and f' of {what!r}'}, which is of "
            f"{times.local(first)}."
        )
        self.first = first


def find(stored: Sequence[StoredBackup], what: str, *, at: datetime | None = None) -> StoredBackup:
    """The backup of that id or prefix, or the last backup of the volume of that id or name.

    A renamed volume is found by its old name too, unless another volume has that name now. An
    unfinished backup, and one of the future while there is another, are found by their ids only.

    :param stored: the backups, the oldest first
    :param at: only among the backups that existed at this moment
    :raises NoBackupThenError: all that match are later than ``at``
    :raises BackupNotFoundError: no backup matches
    :raises AmbiguousNameError: several volumes have that name
    :raises UsageError: several backups match
    """
    try:
        return _find(until(stored, at), what)
    except BackupNotFoundError:
        if at is None or not (first := _matching(stored, what)):
            raise
        raise NoBackupThenError(what, at, first[0].taken_at) from None


def _matching(stored: Iterable[StoredBackup], what: str) -> list[StoredBackup]:
    """The finished backups that an id, or the name or id of a volume, can mean."""
    return [
        backup
        for backup in stored
        if what and backup.finished
        if what in (backup.tags.get("volume"), backup.tags.get("name"))
        or backup.id.startswith(what)
    ]


def _find(stored: Sequence[StoredBackup], what: str) -> StoredBackup:
    last = {str(one.tags.get("volume")): one for one in latest(stored, by_project=False) if what}
    if what in last:
        return last[what]
    # The present name of a volume takes precedence over former names.
    volumes = [volume for volume, backup in last.items() if backup.tags.get("name") == what]
    if not volumes:
        named = (b for b in stored if what and b.tags.get("name") == what)
        found = dict.fromkeys(str(b.tags.get("volume")) for b in named)
        volumes = [volume for volume in found if volume in last]
    if len(volumes) > 1:
        raise AmbiguousNameError(what, in_order(last[volume] for volume in volumes))
    if volumes:
        return last[volumes[0]]
    return find_by_id(stored, what)


def find_by_id(stored: Sequence[StoredBackup], what: str) -> StoredBackup:
    """The backup of that id or prefix.

    :raises BackupNotFoundError: no backup matches
    :raises UsageError: several match
    """
    by_id = [backup for backup in stored if what and backup.id.startswith(what)]
    if len(by_id) > 1:
        ids = ", ".join(backup.id[:12] for backup in by_id)
        raise UsageError(f"{len(by_id)} backups begin with '{what}'; give more of it: {ids}")
    if by_id:
        return by_id[0]
    unfinished = [b.id[:8] for b in stored if what in (b.tags.get("volume"), b.tags.get("name"))]
    if what and unfinished:
        raise BackupNotFoundError(
            f"'{what}' has no finished backup. Nobody knows whether all files are in "
            f"{', '.join(unfinished)}; to use one of these nevertheless, give its id."
        )
    raise BackupNotFoundError(
        f"No backup, and no volume with a backup, has the id or name '{what}'. "
        "'volflow backup list' shows all backups."
    )


def in_order(stored: Iterable[StoredBackup]) -> list[StoredBackup]:
    """The backups, the oldest data first."""
    return sorted(stored, key=lambda backup: backup.order)


def latest(stored: Iterable[StoredBackup], *, by_project: bool = True) -> list[StoredBackup]:
    """The last backup of each volume.

    Unfinished backups do not count. One of the future counts if the volume has no other.

    :param stored: the backups, the oldest first
    :param by_project: for a volume that was in several projects, the last of each project
    """
    now = datetime.now(UTC)
    last: dict[tuple[str, str | None], StoredBackup] = {}
    for backup in stored:
        key = (backup.tags["volume"], backup.tags.get("project") if by_project else None)
        known = last.get(key)
        if not backup.finished or (
            known and backup.of_the_future(now) and not known.of_the_future(now)
        ):
            continue
        last[key] = backup
    return list(last.values())


def complete_instead(
    stored: Iterable[StoredBackup], last: StoredBackup, *, same: Sequence[str] = ("project",)
) -> tuple[StoredBackup, str | None]:
    """The last complete backup of a volume, if the last one is partial.

    :param last: the last backup of the volume
    :param same: the tags that the complete one must have in common with it
    :returns: a backup, and which later ones are passed over for it, in one sentence. The last one
        itself if it is complete, or if the volume has no complete one
    """
    if last.outcome is not Outcome.PARTIAL or last.of_the_future():
        return last, None
    keys = ("volume", *same)
    finished = [
        one
        for one in stored
        if one.finished and one.order <= last.order
        if all(one.tags.get(key, "") == last.tags.get(key, "") for key in keys)
    ]
    whole = [one for one in finished if one.outcome is Outcome.COMPLETE]
    if not whole:
        return last, None
    passed = [one for one in finished if one.order > whole[-1].order]
    named = ", ".join(f"{one.id[:8]} of {times.local(one.taken_at)}" for one in passed[-_NAMED:])
    more = f" and {len(passed) - _NAMED} earlier ones" if len(passed) > _NAMED else ""
    return whole[-1], (
        f"The last complete backup of {last.tags.get('name') or last.tags.get('volume')} is "
        f"{whole[-1].id[:8]} of {times.local(whole[-1].taken_at)}: it is used. Passed over, "
        f"because they are partial: {named}{more}. To use one of these, give its id; a restore "
        "also takes --allow-partial."
    )


def doubts(backups: Iterable[StoredBackup]) -> list[str]:
    """What a person should know about these backups: one sentence for each that is doubtful."""
    now = datetime.now(UTC)
    found = []
    for backup in backups:
        name = f"Backup {backup.id[:8]} of {backup.tags.get('name') or backup.tags.get('volume')}"
        if not backup.finished:
            found.append(
                f"{name} is unfinished: volflow was interrupted, and nobody knows whether all "
                "files are in it."
            )
        if backup.files_before is not None:
            found.append(
                f"{name} is partial. Files in it: {backup.files or 0:,}; in the last complete one "
                f"before it: {backup.files_before:,}."
            )
        if backup.of_the_future(now):
            found.append(
                f"{name} is of the future ({times.local(backup.taken_at)}): the clock of the "
                "host or of Cinder was wrong. It is the last backup only if the volume has no "
                "other, and the next backup is not compared with it; 'volflow backup delete' "
                "removes it."
            )
    return found


def parents(stored: Iterable[StoredBackup]) -> list[StoredBackup]:
    """The backup with which the next one of each volume is compared, for each project.

    An unfinished copy is one if there is nothing else: files that are not in it are read. A backup
    of the future is none.
    """
    now = datetime.now(UTC)
    sane = [backup for backup in stored if not backup.of_the_future(now)]
    last = {(backup.tags["volume"], backup.tags.get("project")): backup for backup in sane}
    finished = {(one.tags["volume"], one.tags.get("project")): one for one in latest(sane)}
    return list((last | finished).values())


def last_numbers(stored: Iterable[StoredBackup]) -> dict[str, int]:
    """The number of the last backup of each volume, by the volume's id."""
    found: dict[str, int] = {}
    for backup in stored:
        volume_id = str(backup.tags.get("volume"))
        found[volume_id] = max(backup.number, found.get(volume_id, 0))
    return found


def until(stored: Iterable[StoredBackup], moment: datetime | None) -> list[StoredBackup]:
    """The backups that existed at a moment; all if no moment is given."""
    return [backup for backup in stored if moment is None or backup.taken_at <= moment]
