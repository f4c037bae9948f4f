"""The configured repositories: one for all projects, or one for each."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from oslo_config import cfg

from volflow.host.devices import nearest_existing
from volflow.host.privilege import Privilege
from volflow.movers.base import Mover, Repository
from volflow.movers.native.mover import NativeMover
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.program import ResticProgram
from volflow.movers.restic.repository import ResticRepository
from volflow.repositories.settings import PROJECT, RepositorySettings, masked

LOG = logging.getLogger(__name__)

# The directory beside restic's cache for what the last backup of each image had.
_MAPS = "images"


class Repositories:
    """The configured repositories. Only this class creates repositories and movers.

    :param conf: volflow's configuration
    :param privilege: restic runs as root
    :param cache: returns restic's cache directory unless ``[repository] cache_dir`` is set
    :param home: returns the id of the login's project; called only if each project has its own
        repository
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        privilege: Privilege,
        cache: Callable[[], Path],
        home: Callable[[], str | None],
    ) -> None:
        self._conf = conf
        self._group = conf.repository
        self._privilege = privilege
        self._cache = cache
        self._home = home
        self._lock = threading.Lock()
        self._programs: dict[str | None, ResticProgram] = {}
        self._movers: dict[ResticProgram, Mover] = {}
        if self.per_project and not self._key_per_project:
            LOG.warning(
                "The repositories of all projects have the same password: with it, each project "
                "that has access to another's repository can read it. Write %s into password_file "
                "or password_command of [repository], too.",
                PROJECT,
            )

    @property
    def per_project(self) -> bool:
        """Whether each project has a repository of its own."""
        return PROJECT in str(self._group.location or "")

    @property
    def _key_per_project(self) -> bool:
        return PROJECT in f"{self._group.password_file or ''}{self._group.password_command or ''}"

    @property
    def location(self) -> str:
        """The configured name of the repository or repositories, without secrets."""
        return masked(str(self._group.location or ""))

    def of(self, project_id: str | None = None) -> Repository:
        """The repository of a project, or the one that all share.

        :param project_id: the login's project unless given; ignored where all share one
        """
        return ResticRepository(self._program(project_id))

    def mover(self, project_id: str | None = None) -> Mover:
        """The mover for the repository of a project, or for the one that all share.

        :param project_id: the login's project unless given; ignored where all share one
        """
        program = self._program(project_id)
        with self._lock:
            if program not in self._movers:
                plain = ResticMover(program)
                # One for each repository: it derives the key once.
                self._movers[program] = (
                    NativeMover(plain, program, self._cache().with_name(_MAPS))
                    if self._group.native_images
                    else plain
                )
            return self._movers[program]

    def _program(self, project_id: str | None) -> ResticProgram:
        key = (project_id or self._home()) if self.per_project else None
        with self._lock:
            if key not in self._programs:
                settings = RepositorySettings(self._conf, self._cache(), project_id=key)
                self._programs[key] = ResticProgram(settings, self._privilege)
            return self._programs[key]


def free_bytes(path: Path | None) -> int | None:
    """The free bytes of the file system for a directory, which need not exist yet.

    :returns: None if no directory is given
    """
    if path is None:
        return None
    return shutil.disk_usage(nearest_existing(path)).free
