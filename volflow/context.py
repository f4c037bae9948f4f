"""What the configuration opens on this host."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from oslo_config import cfg

from persistence import State
from volflow import config
from volflow.disk.rehearsal import Rehearsal
from volflow.errors import ConfigError, UsageError
from volflow.host.host import Host
from volflow.observers.progress import NullObserver, Observer
from volflow.repositories.backups import Backups
from volflow.repositories.opened import Repositories
from volflow.stop import Stop

if TYPE_CHECKING:
    from volflow.cloud.connection import Cloud


class Context:
    """The cloud, the repositories, the state database and this host.

    It connects to nothing before it has to. ``cloud``, ``repositories`` and ``host`` replace those
    that the configuration names.

    :param conf: the configuration, by :func:`volflow.config.load`
    :param cloud_arguments: parsed ``--os-*`` options
    :param observer: receives the progress of runs
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        cloud_arguments: argparse.Namespace | None = None,
        observer: Observer | None = None,
        cloud: Cloud | None = None,
        repositories: Repositories | None = None,
        host: Host | None = None,
    ) -> None:
        self.conf = conf
        self.stop = Stop()
        self.observer = observer or NullObserver()
        self._driven: set[str] = set()
        self.host = host or Host(conf, self.directory, self.stop.event)
        self.rehearsal = Rehearsal(self.host.namespace)
        self._cloud_arguments = cloud_arguments
        if cloud is not None:
            vars(self)["cloud"] = cloud
        self.repositories = repositories or Repositories(
            conf,
            self.host.privilege,
            lambda: self.directory("cache"),
            lambda: self.cloud.cinder.project_id,
        )
        self.backups = Backups(
            self.repositories,
            lambda: self.state.catalogue,
            home=lambda: self.cloud.cinder.project_id,
            projects=lambda: self.cloud.projects(),
        )

    @cached_property
    def state(self) -> State:
        """The state database."""
        self.directory()
        return State.open(config.state_url(self.conf))

    @cached_property
    def cloud(self) -> Cloud:
        # The import takes half a second, and listings do not need it.
        from volflow.cloud.connection import Cloud
        from volflow.cloud.patience import Patience
        from volflow.cloud.wait import Wait

        return Cloud(
            name=self.conf.cloud.name,
            arguments=self._cloud_arguments,
            wait=Wait.from_config(self.conf),
            timeout=self.conf.cloud.timeout,
            patience=Patience(self.conf.cloud.patience),
            former=self.conf.cloud.former_auth_urls,
            stopping=self.stop.event,
        )

    def directory(self, name: str = "") -> Path:
        """Return the state directory or a directory in it. Creates it with mode 0700.

        :raises ConfigError: it cannot be created or is not writable
        """
        path = config.state_dir(self.conf) / name
        try:
            # Separately: mkdir would not give the mode to parents.
            for directory in (config.state_dir(self.conf), path):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(path))
        except OSError as error:
            raise ConfigError(
                f"The state directory {path} is not writable ({error.strerror}): set "
                "state_dir in volflow.conf to a directory of the user that runs volflow."
            ) from error
        return path

    @contextmanager
    def driving(self, run_id: str) -> Iterator[None]:
        """Keep the state database open while the block runs."""
        self._driven.add(run_id)
        try:
            with self.stop.driving():
                yield
        finally:
            self._driven.discard(run_id)

    def close(self) -> None:
        """Close what was opened: the state database, and what watches over programs.

        :raises UsageError: another thread drives a run, which needs the database
        """
        if self._driven:
            raise UsageError(
                f"Another thread drives run {', '.join(sorted(self._driven))}, so volflow cannot "
                "be closed. Call stop.suspend() or stop.abort(), wait until that thread has its "
                "result, then close it."
            )
        self.host.close()
        if "state" in vars(self):
            self.state.close()
