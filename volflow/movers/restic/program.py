"""The program restic (https://restic.net): how it is called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Protocol

from volflow.disk import full, room
from volflow.errors import (
    NoProgressError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
    StoppedError,
    VolflowError,
)
from volflow.host import program
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege, find_program
from volflow.host.program import Ended, Limit, Program
from volflow.movers.base import STORES_WITH
from volflow.movers.restic import messages
from volflow.movers.restic.messages import Place, Places
from volflow.movers.stall import StallGuard

OLDEST = (0, 14, 0)
# Commands that only look at the repository, or write little to it. The others may take long.
_LOOKS = frozenset(["cat", "forget", "init", "list", "snapshots", "tag", "unlock"])
# Commands that need no lock where nobody can write, and those that fail there.
_READS = frozenset(
    ["cat", "check", "diff", "dump", "ls", "list", "mount", "restore", "snapshots", "stats"]
)
_WRITES = frozenset(["backup", "forget", "prune", "tag"])
# Commands that store data, first in restic's temporary directory.
_STORES = frozenset(["backup", "prune"])
# Environment variables with credentials of storage services for restic and rclone.
_CREDENTIALS = re.compile(
    r"^(AWS|AZURE|B2|GOOGLE|OS|ST|RCLONE|RESTIC)_|^https?_proxy$|^no_proxy$", re.IGNORECASE
)
# These would override the configuration of volflow. For restic, empty means unset.
_OVERRIDDEN = (
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_PASSWORD_COMMAND",
)

# What restic says when volflow ends it.
_OUR_SIGNAL = "signal interrupt received"
# Lines of restic's errors to keep where they are only shown.
_MOST_ERRORS = 50_000


class Settings(Protocol):
    """The settings of one repository. Those that depend on the project raise ConfigError."""

    @property
    def program(self) -> str:
        """The restic program: a name on the PATH, or a path."""
        ...

    @property
    def options(self) -> Sequence[str]:
        """restic's extended options."""
        ...

    @property
    def stall_limit(self) -> float:
        """Seconds without progress after which a copy has failed."""
        ...

    @property
    def look_limit(self) -> float:
        """Seconds without an answer after which a command that only looks has failed."""
        ...

    @property
    def cache_dir(self) -> Path:
        """restic's cache directory."""
        ...

    @property
    def url(self) -> str:
        """The repository's name as restic takes it. It may contain secrets."""
        ...

    @property
    def location(self) -> str:
        """The repository's name, without secrets."""
        ...

    @property
    def local_path(self) -> Path | None:
        """The repository's directory, if it is on this host."""
        ...

    @property
    def password_file(self) -> Path | None:
        """The file with the password; None if a command prints it."""
        ...

    @property
    def password_command(self) -> str:
        """The command that prints the password; empty if it is in a file."""
        ...

    def check(self) -> None:
        """Make sure that the options make sense."""
        ...


class ResticProgram:
    """Runs restic with the configured repository, password and cache.

    :param settings: the settings of the repository
    :param privilege: files of volumes belong to root, so restic reads them as root
    """

    def __init__(self, settings: Settings, privilege: Privilege) -> None:
        self.settings = settings
        self.privilege = privilege
        self._known_version: tuple[int, ...] | None = None

    @property
    def location(self) -> str:
        """The repository's name, without secrets."""
        return self.settings.location

    @property
    def version(self) -> tuple[int, ...]:
        """restic's version."""
        if self._known_version is None:
            if find_program(self.settings.program) is None:
                raise RepositoryError(
                    f"restic is not installed (no program '{self.settings.program}'): install "
                    "the package 'restic', or set restic in [repository]."
                )
            done = self.privilege.attempt(self.settings.program, "version")
            found = re.match(r"restic (\d+)\.(\d+)\.(\d+)", done.stdout)
            if not found:
                # sudo's refusal is not restic's.
                self.privilege.check()
                raise RepositoryError(
                    f"'{self.settings.program} version' does not name a version of restic: "
                    f"{(done.stdout + done.stderr).strip()}"
                )
            self._known_version = tuple(map(int, found.groups()))
        return self._known_version

    def check(self) -> None:
        """Make sure that restic is installed and new enough, and that the options are valid."""
        if self.version < OLDEST:
            have, need = (".".join(map(str, v)) for v in (self.version, OLDEST))
            raise RepositoryError(
                f"restic {have} is too old, volflow needs {need} or newer: install a newer "
                "package 'restic', or set restic in [repository]."
            )
        self.settings.check()

    def exists(self) -> bool:
        """Whether the repository exists. The password is not needed.

        :raises RepositoryError: this cannot be determined
        """
        # A wrong password: restic reports it only if the repository exists.
        environment = self._environment() | {"RESTIC_PASSWORD": "none"}
        command = (self.settings.program, *self._own_options(), "cat", "config")
        done = self._run(
            lambda out: self.privilege.start(
                *command,
                environment=environment,
                gentle=True,
                limit=self._limit("cat"),
                stdout=out,
            )
        )
        if done.returncode == 0:
            return True
        error = self.error("cat", done.returncode, done.stderr.splitlines())
        if isinstance(error, NoRepositoryError | PasswordError):
            return isinstance(error, PasswordError)
        raise error

    def _limit(self, command: str, seconds: float | None = None) -> Limit:
        """How long a command of restic may make no progress."""
        look = command in _LOOKS
        option = "look_limit" if look else "stall_limit"
        limit = self.settings.look_limit if look else self.settings.stall_limit
        return Limit(
            seconds or limit,
            f"check whether the repository {self.location} can be reached, or raise {option} in "
            "[repository]",
        )

    def _run(self, start: Callable[[IO[bytes]], Program]) -> Ended:
        try:
            return program.run(start)
        except NoProgressError as error:
            raise self._ended(error) from error

    def _ended(self, error: NoProgressError) -> RepositoryError:
        """What it means that restic was ended; it may have said why it waited."""
        # A sign that a repository does not exist is none if restic goes on.
        known = messages.known(self.location, error.said.splitlines())
        if known and not isinstance(known, NoRepositoryError):
            return RepositoryError(f"{str(error).rstrip('.')}. {known}")
        said = [line for line in error.said.strip().splitlines() if _OUR_SIGNAL not in line]
        return RepositoryError(f"{error}{f' restic said: {said[-1]}' if said else ''}")

    def _own_options(self) -> list[str]:
        options = ["--cache-dir", str(self.settings.cache_dir)]
        for option in self.settings.options:
            options += ["--option", option]
        return options

    def _options(self, command: Sequence[str]) -> list[str]:
        """The options of a command.

        :raises RepositoryError: it writes to a repository that is read-only
        """
        settings = self.settings
        options = self._own_options()
        if command[0] in _WRITES:
            self.check_writable()
        elif command[0] in _READS and "--no-lock" not in command and self._local_is_read_only():
            options.append("--no-lock")
        if path := settings.password_file:
            return [*options, "--password-file", str(path)]
        return [*options, "--password-command", settings.password_command]

    def check_writable(self) -> None:
        """Fail at once, where restic tries for most of a minute.

        :raises RepositoryError: the repository is a directory that is read-only
        """
        if self._local_is_read_only():
            raise RepositoryError(
                f"The repository {self.location} cannot be written to: check how its file "
                "system is mounted."
            )

    def _local_is_read_only(self) -> bool:
        """Whether the repository is a directory in which even root cannot write."""
        path = str(self.settings.local_path or "")
        if not path:
            return False
        looked = self.privilege.attempt("test", "-d", path, "-a", "!", "-w", path)
        return looked.returncode == 0

    def _environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if _CREDENTIALS.search(k)},
            # For the times that it is given.
            "TZ": "UTC",
            **dict.fromkeys(_OVERRIDDEN, ""),
            # Everybody can read command lines, and a URL can contain a password.
            "RESTIC_REPOSITORY": self.settings.url,
        }

    def start(self, *command: str, stdout: IO[bytes] | None = None) -> Program:
        """Start restic. It ends with the ``with`` block, or with volflow.

        :param stdout: a file for its output; a pipe unless given
        :raises RepositoryError: it is missing or too old
        """
        self.check()
        return self.privilege.start(
            self.settings.program,
            *self._options(command),
            *command,
            environment=self._environment(),
            gentle=True,
            limit=self._limit(command[0]),
            stdout=stdout,
        )

    def run(self, *command: str, limit: float | None = None) -> str:
        """Run restic to its end; returns its standard output.

        :param limit: seconds without progress after which restic is ended, instead of the
            configured ones
        :raises RepositoryError: restic failed; says why, and what to do
        :raises StoppedError: volflow is asked to stop
        """
        return self.say(*command, limit=limit)[0]

    def say(self, *command: str, limit: float | None = None) -> tuple[str, str]:
        """Run restic to its end, like :meth:`run`; returns its standard output and error."""

        def start(out: IO[bytes]) -> Program:
            started = self.start(*command, stdout=out)
            started.name = f"restic {command[0]}"
            started.limit = self._limit(command[0], limit)
            return started

        done = self._run(start)
        if done.returncode:
            raise self.error(command[0], done.returncode, done.stderr.splitlines())
        return done.stdout, done.stderr

    def lines(self, *command: str) -> Iterator[str]:
        """Run restic, and yield each line of its standard output.

        :raises RepositoryError: restic failed; says why, and what to do
        :raises StoppedError: volflow is asked to stop
        """
        for line in self._output(command, lambda started: started.records(b"\n")):
            yield _text(line)

    def chunks(self, *command: str) -> Iterator[bytes]:
        """Run restic, and yield its standard output as it comes.

        :raises RepositoryError: restic failed; says why, and what to do
        :raises StoppedError: volflow is asked to stop
        """
        return self._output(command, Program.chunks)

    def _output(
        self, command: Sequence[str], read: Callable[[Program], Iterator[bytes]]
    ) -> Iterator[bytes]:
        with self.start(*command) as started:
            started.name = f"restic {command[0]}"
            try:
                yield from read(started)
                status = started.wait()
            except NoProgressError as error:
                raise self._ended(error) from error
            if status:
                raise self.error(command[0], status, started.said().splitlines())

    def follow(
        self,
        namespace: MountNamespace,
        command: Sequence[str],
        read: Callable[[str], None],
        watch: StallGuard,
        through: Sequence[str | Path] = (),
        all_errors: bool = False,
    ) -> tuple[int, list[str]]:
        """Run restic in the namespace to its end.

        :param read: called with each line of the standard output
        :param through: a program with its arguments that runs restic, whose command line is
            appended, and reads its output
        :param all_errors: every line of the standard error counts; otherwise only some of very many
        :returns: the exit status, and the lines of the standard error
        :raises StoppedError: the copy was stopped
        :raises RepositoryError: the copy made no progress for too long
        """
        self.check()
        if watch.stopped:
            raise StoppedError(f"restic {command[0]} was not started: the run is to stop.")
        process = namespace.start(
            *through,
            self.settings.program,
            *self._options(command),
            *command,
            cwd=namespace.root,
            # Two reports a second are enough for people.
            environment=self._environment() | {"RESTIC_PROGRESS_FPS": "2"},
            gentle=True,
        )

        def look() -> None:
            if watch.over:
                process.end()

        with process:
            process.note(self.settings.program)
            for line in process.records(b"\n", look):
                read(_text(line))
            status = process.wait(look)
            errors, left_out = process.errors(sys.maxsize if all_errors else _MOST_ERRORS)
        if status and watch.stopped:
            raise StoppedError(f"restic {command[0]} was stopped.")
        if status and watch.stalled:
            raise RepositoryError(
                f"restic {command[0]} was ended after {self.settings.stall_limit:g} s without "
                f"progress; check whether {self.location} can be reached, or raise stall_limit in "
                "[repository]."
            )
        if left_out:
            errors.append(f"{left_out} more messages of restic are not shown")
        return status, errors

    def error(
        self,
        doing: str,
        status: int,
        errors: Sequence[str],
        *,
        namespace: MountNamespace | None = None,
    ) -> VolflowError:
        """What a failure of restic means.

        :param doing: restic's command
        :param errors: the lines of its standard error
        :param namespace: where the volume that it reads or writes is mounted
        """

        def look() -> Places:
            return Places(self._places(doing), self._targets(namespace))

        return messages.meaning(
            self.location,
            doing,
            status,
            errors,
            volumes=[namespace.root] if namespace else [],
            look=look,
        )

    def _places(self, doing: str) -> list[Place]:
        """The directories of this host to which restic writes, and what they can take."""
        repository = self.settings.local_path
        writes = STORES_WITH if doing in _STORES else room.ENOUGH
        found = [
            ("The temporary directory", temporary_directory(), writes),
            ("The cache directory", self.settings.cache_dir, 1),
        ]
        if repository:
            found.insert(0, ("The repository", repository, writes))
        looked = full.look(self.privilege, [path for _, path, _ in found])
        return [
            Place(f"{name} {path}", path, needed, each)
            for (name, path, needed), each in zip(found, looked, strict=False)
        ]

    def _targets(self, namespace: MountNamespace | None) -> list[Place]:
        if namespace is None:
            return []
        paths = namespace.mounted
        name = "The file system that is restored to"
        return [
            Place(name, path, room.ENOUGH, each)
            for path, each in zip(paths, full.look(namespace, paths), strict=False)
        ]


def temporary_directory() -> Path:
    """Where restic makes temporary files. sudo does not pass it on."""
    return Path((os.environ.get("TMPDIR") if os.geteuid() == 0 else "") or "/tmp")


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="surrogateescape")


def time_of(text: str) -> datetime:
    """Parse a time of restic. It has nanoseconds; datetime takes six digits."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
