"""The class that the command line, Freezer, Mistral and other programs call."""

from __future__ import annotations

import argparse
from types import TracebackType
from typing import Self

from oslo_config import cfg

from persistence import State
from volflow.api.backups import BackupApi
from volflow.api.doctor import Finding, examine
from volflow.api.leftovers import LeftoverApi
from volflow.api.repositories import RepositoryApi
from volflow.api.restores import RestoreApi
from volflow.api.runs import RunApi
from volflow.config import load, state_url
from volflow.context import Context
from volflow.observers.progress import Observer
from volflow.stop import Stop


class Volflow:
    """Backs up and restores the volumes of one cloud.

    It connects to nothing before it has to. Use it as a context manager, or close it.

    :param context: the cloud, the repositories, the state database and this host;
        :meth:`from_config` opens it
    :ivar backups: :class:`~volflow.api.backups.BackupApi`
    :ivar restores: :class:`~volflow.api.restores.RestoreApi`
    :ivar runs: :class:`~volflow.api.runs.RunApi`
    :ivar leftovers: :class:`~volflow.api.leftovers.LeftoverApi`
    :ivar repositories: :class:`~volflow.api.repositories.RepositoryApi`
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.backups = BackupApi(context)
        self.restores = RestoreApi(context)
        self.runs = RunApi(context)
        self.leftovers = LeftoverApi(context)
        self.repositories = RepositoryApi(context)

    @classmethod
    def from_config(
        cls,
        conf: cfg.ConfigOpts | None = None,
        *,
        observer: Observer | None = None,
        cloud_arguments: argparse.Namespace | None = None,
    ) -> Self:
        """Open volflow as it is configured.

        :param conf: the configuration, by :func:`volflow.load_config`; by default that of the
            configuration files of this host and user
        :param observer: receives the progress of runs
        :param cloud_arguments: parsed ``--os-*`` options of the login
        :raises ConfigError: a configuration file is missing, or an option in it is wrong
        """
        conf = conf if conf is not None else load()
        return cls(Context(conf, cloud_arguments=cloud_arguments, observer=observer))

    @property
    def stop(self) -> Stop:
        """Suspends or aborts the current run, from any thread or a signal handler."""
        return self.context.stop

    def doctor(self) -> list[Finding]:
        """Check this host, the repository, the state database and the cloud.

        :returns: one finding for each check, passed or not
        """
        return list(examine(self.context))

    def migrate_state(self) -> None:
        """Create the tables of the state database, or update them to this version.

        SQLite never needs this: volflow does it itself. On a database server, do it once after each
        upgrade, while no run is in progress.

        :raises StateError: the database cannot be reached, or refuses
        """
        State.migrate(state_url(self.context.conf))

    def close(self) -> None:
        """Close the state database.

        :raises UsageError: another thread drives a run. Stop it with :attr:`stop`, and wait for it
        """
        self.context.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
