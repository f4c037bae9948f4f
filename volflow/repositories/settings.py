"""What ``[repository]`` of the configuration says about one repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg

from volflow.errors import ConfigError

# Placeholder for the project id in the location and in where its password is.
PROJECT = "{project_id}"
# Project ids as Keystone makes them. Anything else could lead to another project's repository.
_PROJECT_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class RepositorySettings:
    """The options of one repository. Each is validated when it is read.

    :param conf: volflow's configuration
    :param cache_dir: the cache directory unless ``[repository] cache_dir`` is set
    :param project_id: the project that owns the repository, if each project has its own
    """

    def __init__(
        self, conf: cfg.ConfigOpts, cache_dir: Path, *, project_id: str | None = None
    ) -> None:
        self._group = conf.repository
        self._project_id = project_id
        self.cache_dir = Path(self._group.cache_dir or cache_dir)

    @property
    def program(self) -> str:
        """The restic program: a name on the PATH, or a path."""
        return str(self._group.restic)

    @property
    def options(self) -> Sequence[str]:
        """Extended options for restic."""
        return tuple(self._group.options)

    @property
    def look_limit(self) -> float:
        """Seconds without an answer after which a command that only looks has failed."""
        return float(self._group.look_limit)

    @property
    def stall_limit(self) -> float:
        """Seconds without progress after which a copy has failed."""
        return float(self._group.stall_limit)

    @property
    def url(self) -> str:
        """The repository's name as restic takes it. It may contain secrets.

        :raises ConfigError: no repository is configured
        """
        if not self._group.location:
            raise ConfigError(
                "No repository is configured: set location in [repository] of volflow.conf, or "
                "OS_REPOSITORY__LOCATION, or give --repository."
            )
        return self._of_project(str(self._group.location))

    @property
    def location(self) -> str:
        """The repository's name, without the user and password that a URL can contain."""
        return masked(self.url)

    @property
    def local_path(self) -> Path | None:
        """The repository's directory, if it is on this host."""
        url = self.url
        if url.startswith("local:"):
            return Path(url.removeprefix("local:"))
        return None if re.match(r"[a-z0-9]+:", url) else Path(url)

    @property
    def password_file(self) -> Path | None:
        """The file with the password on its first line; None if a command prints it.

        :raises ConfigError: neither or both are set, or the file does not exist
        """
        path = self._of_project(self._group.password_file or "")
        if bool(path) == bool(self._of_project(self._group.password_command or "")):
            raise ConfigError(
                "The repository's password must come from one place: set either password_file or "
                "password_command in [repository]."
            )
        if path and not Path(path).is_file():
            raise ConfigError(f"The password file {path} of [repository] does not exist.")
        return Path(path).absolute() if path else None

    @property
    def password_command(self) -> str:
        """The command that prints the password; empty if it is in a file."""
        return self._of_project(self._group.password_command or "")

    def check(self) -> None:
        """Make sure that the options make sense.

        :raises ConfigError: they do not
        """
        _ = self.password_file
        if self.local_path and not self.local_path.is_absolute():
            raise ConfigError(
                f"The repository '{self.url}' is a relative path; give an absolute one, so "
                "that it is the same wherever volflow is started."
            )

    def _of_project(self, text: str) -> str:
        """Replace the placeholder with the project id.

        :raises ConfigError: the id may not be part of a path or a command
        """
        if PROJECT not in text:
            return text
        if self._project_id is None:
            raise ConfigError(
                f"'{text}' of [repository] is for each project, and location is for all of them: "
                "write {project_id} into both or into neither."
            )
        if not _PROJECT_ID.fullmatch(self._project_id):
            raise ConfigError(
                f"'{self._project_id}' is not the id of a project: it must be 32 hexadecimal "
                "digits to be part of the name of a repository or its password."
            )
        return text.replace(PROJECT, self._project_id)


def masked(location: str) -> str:
    """A repository's name without the user and password that a URL can contain."""
    return re.sub(r"//[^/@]*@", "//", location)
