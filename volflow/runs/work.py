"""What the tasks of a run use: the project, the repository and this host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from persistence import Run
from volflow.cloud.connection import Cloud
from volflow.cloud.login import Login
from volflow.context import Context
from volflow.disk.inspection import Choice
from volflow.errors import CloudError
from volflow.host.freeze import Quiesce
from volflow.movers.base import StoredBackup
from volflow.observers.all import observers
from volflow.repositories.opened import Repositories
from volflow.results.request import BackupRequest, Request, RestoreRequest, complete_request
from volflow.tasks.concurrency import Slots
from volflow.tasks.work import Services, Work

# Seconds that a person waits for the removal of one leftover.
_SHORT = 4.0


@dataclass(frozen=True)
class RunWork:
    """The work of each volume and group of one run.

    :ivar services: what all volumes and groups of the run share
    """

    run_id: str
    request: Request
    services: Services
    cloud: Cloud
    repositories: Repositories

    def of(self, key: str) -> Work:
        """The work of a volume or a group, in its project and its repository.

        :raises CloudError: the login is to another cloud, or has no role in the project
        """
        home = Login.from_dict(self.request.login)
        if home.is_elsewhere(self.cloud.login):
            raise CloudError(
                f"Run {self.run_id} works in the cloud {home.cloud}, but this login is to "
                f"{self.cloud.login.cloud}, where nothing that the run created exists. Log in to "
                "the run's own cloud. If it is the same cloud under a new URL, add the old one to "
                "[cloud] former_auth_urls."
            )
        project_id = self.request.project_of(key)
        acting = None
        if self.request.act_in == "tenant":
            acting = project_id
            if isinstance(self.request, RestoreRequest):
                acting = self.request.options.target_project(project_id)
        cinder = self.cloud.in_project(acting or home.project_id)
        owner = project_id or home.project_id
        repository, mover = self.repositories.of(owner), self.repositories.mover(owner)
        return Work(self.services, key, cinder, repository, mover)

    def check_reach(self, keys: Iterable[str]) -> None:
        """Make sure that this login reaches everything that the run created.

        :param keys: the volumes of the run
        :raises CloudError: the login is to another cloud, or has no role in one of the projects
        """
        for key in keys:
            self.of(key)


class WorkFactory:
    """Creates what the tasks of runs use."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def of_run(
        self,
        run: Run,
        parents: Mapping[str, StoredBackup] | None = None,
        numbers: Mapping[str, int] | None = None,
        *,
        file_systems: Mapping[str, str] | None = None,
        patience: float = _SHORT,
    ) -> RunWork:
        """The work of a run.

        :param parents: the backups to compare with, by volume
        :param numbers: the number of the last backup, by volume
        :param file_systems: what tells the file systems in the last backup from others, by volume
        :param patience: seconds for which the removal of a resource is tried again
        :raises UsageError: another release stored the run, without something that is needed
        """
        request = complete_request(run)
        volumes = {} if isinstance(request, RestoreRequest) else request.volumes_in_project
        services = self._services(
            run.id, request.parallel, parents or {}, numbers or {}, volumes, patience
        )
        options = self._context.conf.backup
        choice = Choice(
            image=isinstance(request, BackupRequest) and request.image,
            image_types=options.image_types,
            file_types=options.file_types,
        )
        services = replace(services, file_systems=file_systems or {}, choice=choice)
        return RunWork(run.id, request, services, self._context.cloud, self._context.repositories)

    def without_run(self, volume_id: str = "") -> Work:
        """The work of a volume that belongs to no known run, in the project of the login."""
        cloud, repositories = self._context.cloud, self._context.repositories
        services = self._services("", 1, {}, {}, {}, _SHORT)
        return Work(services, volume_id, cloud.cinder, repositories.of(), repositories.mover())

    def _services(
        self,
        run_id: str,
        parallel: int,
        parents: Mapping[str, StoredBackup],
        numbers: Mapping[str, int],
        volumes_in_project: Mapping[str, int],
        patience: float,
    ) -> Services:
        context = self._context
        return Services(
            run_id=run_id,
            host=context.host,
            ledger=context.state.ledger,
            catalogue=context.state.catalogue,
            observer=observers(context.conf, context.state, context.observer),
            rehearsal=context.rehearsal,
            slots=Slots(parallel, context.stop.event),
            parents=parents,
            numbers=numbers,
            volumes_in_project=volumes_in_project,
            full_every=timedelta(days=context.conf.backup.full_every),
            quiesce=Quiesce.from_config(context.conf),
            stopping=context.stop.event,
            patience=patience,
        )
