"""Repositories: create, list, check and prune them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from persistence import StateError
from volflow.context import Context
from volflow.movers.base import StoredBackup
from volflow.movers.verdicts import settled


@dataclass(frozen=True)
class RepositoryInfo:
    """A repository and what is in it.

    :ivar location: restic's name of it, without secrets
    :ivar backups: number of backups
    :ivar volumes: number of volumes that they are of
    :ivar last_backup: the time of the data of the last backup; None if there is none
    :ivar configured: whether it is the configured one; otherwise the state database knows it from
        before
    """

    location: str
    backups: int
    volumes: int
    last_backup: datetime | None
    configured: bool


class RepositoryApi:
    """Operations on repositories: ``volflow.repositories``.

    Each project can have its own repository. Methods then take the id of the project; without it
    they work on the repository of the login's project.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def location(self, project_id: str | None = None) -> str:
        """Return restic's name of a repository, without secrets."""
        return self._context.repositories.of(project_id).location

    def init(self, project_id: str | None = None) -> str:
        """Create a repository. Keep its password: nobody can read the backups without it.

        :returns: its location
        :raises RepositoryError: it exists already, or the storage refuses
        """
        repository = self._context.repositories.of(project_id)
        repository.init()
        return repository.location

    def list(self) -> list[RepositoryInfo]:
        """List the configured repository, and those that were used before.

        The configured repository itself is asked; the others are as the state database knows them.

        :raises RepositoryError: the configured repository is missing, refuses or fails
        """
        configured = self.location()
        stored = [backup for backup in self._context.backups.backups() if backup.finished]
        found = [
            RepositoryInfo(
                configured,
                len(stored),
                len({backup.tags.get("volume") for backup in stored}),
                stored[-1].taken_at if stored else None,
                configured=True,
            )
        ]
        catalogue = self._context.state.catalogue
        others = [backup for backup in catalogue.list() if backup.repository != configured]
        for location in sorted({backup.repository for backup in others}):
            known = [backup for backup in others if backup.repository == location]
            found.append(
                RepositoryInfo(
                    location,
                    len(known),
                    len({backup.volume_id for backup in known}),
                    max(backup.created_at for backup in known),
                    configured=False,
                )
            )
        return found

    def check(self, project_id: str | None = None, *, percent: float = 0.0) -> str:
        """Check the structure of a repository, and read a sample of its data.

        :param percent: size of the sample; 0 reads no data, 100 reads all
        :returns: restic's report
        :raises RepositoryError: something is missing or damaged
        """
        return self._context.repositories.of(project_id).check_data(percent)

    def prune(self, project_id: str | None = None) -> str:
        """Remove data that no backup needs. No backup can run at the same time.

        Unfinished copies go too: those of runs that have ended, and those of runs that the state
        database does not know after a day.

        :returns: restic's report
        :raises RepositoryError: the repository is locked, refuses or fails
        """
        return self._context.repositories.of(project_id).prune(self._abandoned)

    def _abandoned(self, copy: StoredBackup) -> bool:
        """Whether the run of an unfinished copy will not continue."""
        try:
            return self._context.state.runs.get(copy.tags.get("run", "")).state.final
        except StateError:
            return settled(copy)

    def rebuild_catalogue(self, project_id: str | None = None) -> int:
        """Rebuild the catalogue in the state database from the repository.

        :returns: number of backups
        :raises RepositoryError: the repository is missing, refuses or fails
        """
        return self._context.backups.rebuild_catalogue(project_id)
