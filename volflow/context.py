"""What volflow is made of on this host, put together from the configuration."""

from __future__ import annotations

import argparse
import logging
import os
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oslo_config import cfg

from persistence import State
from volflow import config
from volflow.cloud.login import Login
from volflow.cloud.wait import Wait
from volflow.errors import ConfigError
from volflow.host.privilege import Privilege
from volflow.movers.restic.mover import Restic
from volflow.movers.restic.program import masked
from volflow.stop import Stop

if TYPE_CHECKING:
    from volflow.cloud.cinder import Cinder
    from volflow.cloud.connection import Cloud

LOG = logging.getLogger(__name__)

# Stands for the project in the name of a repository and of its password file.
_PROJECT = "{project_id}"


class Context:
    """The cloud, the repositories, the state database and this host.

    Nothing is connected to before it is needed.

    :param conf: the configuration, by :func:`volflow.config.load`
    :param cloud_arguments: parsed ``--os-*`` options
    """

    def __init__(
        self, conf: cfg.ConfigOpts, cloud_arguments: argparse.Namespace | None = None
    ) -> None:
        self.conf = conf
        self.stop = Stop()
        self._cloud_arguments = cloud_arguments
        self._lock = threading.Lock()
        self._cinders: dict[str, Cinder] = {}
        self._movers: dict[str | None, Restic] = {}
        if self.repository_per_project and not self._key_per_project:
            LOG.warning(
                "The repositories of all projects have one password: whoever has it, and can get "
                "at another's repository, can read that. Write %s into password_file or "
                "password_command of [repository], too.",
                _PROJECT,
            )

    @cached_property
    def privilege(self) -> Privilege:
        return Privilege(self.conf.host.root_helper)

    @cached_property
    def connector(self) -> Any:
        """os-brick on this host."""
        # It takes half a second to import, and listings do not need it.
        from volflow.host.connector import Connector

        return Connector(self.conf, self.directory("locks"))

    @cached_property
    def state(self) -> State:
        """The state database."""
        self.directory()
        return State.open(config.state_url(self.conf))

    @cached_property
    def _cloud(self) -> Cloud:
        # It takes half a second to import, and listings do not need it.
        from volflow.cloud.connection import Cloud

        return Cloud(
            name=self.conf.cloud.name,
            arguments=self._cloud_arguments,
            wait=Wait.from_config(self.conf),
            timeout=self.conf.cloud.timeout,
            stopping=self.stop.event,
        )

    @cached_property
    def cinder(self) -> Cinder:
        """Block storage in the project of the login."""
        return self._cloud.cinder()

    @cached_property
    def login(self) -> Login:
        """As whom volflow works, and in which cloud."""
        return self._cloud.login(self.cinder.project_id)

    def cinder_in(self, project_id: str | None) -> Cinder:
        """Block storage in a project; in that of the login where none is given."""
        if not project_id or project_id == self.cinder.project_id:
            return self.cinder
        with self._lock:
            if project_id not in self._cinders:
                self._cinders[project_id] = self._cloud.cinder(project_id)
            return self._cinders[project_id]

    def projects(self) -> list[str]:
        """The projects that Keystone tells this user of.

        :raises CloudError: it does not say
        """
        return self._cloud.projects()

    @property
    def repository_per_project(self) -> bool:
        """Whether each project has a repository of its own."""
        return _PROJECT in str(self.conf.repository.location or "")

    @property
    def _key_per_project(self) -> bool:
        group = self.conf.repository
        return _PROJECT in f"{group.password_file or ''}{group.password_command or ''}"

    @property
    def repository(self) -> str:
        """The name of the repository or repositories as configured, without secrets."""
        return masked(str(self.conf.repository.location or ""))

    def mover(self, project_id: str | None = None) -> Restic:
        """The repository of a project, or the one that all share.

        :param project_id: that of the login where none is given, and it matters
        """
        key = None
        if self.repository_per_project:
            key = project_id or self.cinder.project_id
        with self._lock:
            if key not in self._movers:
                self._movers[key] = Restic(
                    self.conf, self.privilege, self.directory("cache"), project_id=key
                )
            return self._movers[key]

    def directory(self, name: str = "") -> Path:
        """A directory for the state, or in it; made with mode 0700.

        :raises ConfigError: it cannot be made or written to
        """
        path = config.state_dir(self.conf) / name
        try:
            # Each by itself: the mode is not that of parents that are made on the way.
            for directory in (config.state_dir(self.conf), path):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(path))
        except OSError as error:
            raise ConfigError(
                f"The state directory {path} cannot be written to ({error.strerror}): set "
                "state_dir in volflow.conf to a directory of the user that runs volflow."
            ) from error
        return path

    def close(self) -> None:
        """Close what has been opened."""
        if "state" in self.__dict__:
            self.state.close()
