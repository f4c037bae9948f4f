"""The program restic (https://restic.net): how it is called, and what its errors mean."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from signal import SIGINT, SIGKILL
from tempfile import TemporaryFile
from typing import IO, Any, Protocol

from volflow.errors import (
    BackupNotFoundError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
    StoppedError,
)
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege, find_program
from volflow.movers.stall import StallGuard

OLDEST = (0, 14, 0)
# Bytes to read of the last messages of restic.
_LAST_WORDS = 64 * 1024
# Seconds that restic may take to end after SIGINT.
_PATIENCE = 5.0
# After SIGINT restic removes its lock and unmounts.
_BOUND = ("setpriv", "--pdeathsig", "INT")
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

# What restic (0.14 to 0.19) prints on its standard error, and what it means.
_MEANINGS = [
    (
        r"connection refused|no such host|network is unreachable|no route to host|i/o timeout",
        "The repository {location} cannot be reached",
        RepositoryError,
    ),
    (
        # The words of S3, B2, GCS and Azure, Swift, rest-server, SFTP, FTP and of a directory.
        r"access ?denied|forbidden|unauthorized|not authorized|authorization ?fail"
        r"|authentication ?fail|(invalid access key|access key id .*not exist)"
        r"|signature .*does not match|\b(error|status|code|response)\W+40[13]\b"
        r"|permission denied \(|\b530 |unable to open config file:.*permission denied",
        "The storage of the repository {location} refuses access: check its credentials, and what "
        "they allow",
        RepositoryError,
    ),
    (
        r"Is there a repository at the following location|unable to open config file",
        "There is no repository at {location}; 'volflow repository init' creates one",
        NoRepositoryError,
    ),
    (
        r"wrong password or no key found",
        "The password is not that of the repository {location}",
        PasswordError,
    ),
    (
        r"config file already exists",
        "There is a repository at {location} already",
        RepositoryError,
    ),
    (
        r"already locked",
        "The repository {location} is locked by another process, which removes, prunes or checks "
        "backups: try again when it has ended",
        RepositoryError,
    ),
    (
        r"unable to create lock|permission denied|read-only file system",
        "The repository {location} cannot be written to",
        RepositoryError,
    ),
    (r"no space left on device|quota", "The repository {location} is full", RepositoryError),
    (
        r"no matching ID found|no snapshot found|not a valid snapshot"
        r"|failed to load snapshot .*(no such file|not exist|not found)",
        "The repository {location} holds no such backup",
        BackupNotFoundError,
    ),
]


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
        done = subprocess.run(
            self.privilege.argv(*command, keep=sorted(environment)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self.privilege.environment(environment),
            start_new_session=True,
            check=False,
        )
        if done.returncode == 0:
            return True
        error = self.error("cat", done.returncode, _text(done.stderr).splitlines())
        if isinstance(error, NoRepositoryError | PasswordError):
            return isinstance(error, PasswordError)
        raise error

    def _own_options(self) -> list[str]:
        options = ["--cache-dir", str(self.settings.cache_dir)]
        for option in self.settings.options:
            options += ["--option", option]
        return options

    def _options(self) -> list[str]:
        settings = self.settings
        if path := settings.password_file:
            return [*self._own_options(), "--password-file", str(path)]
        return [*self._own_options(), "--password-command", settings.password_command]

    def _environment(self) -> dict[str, str]:
        # Two reports a second are enough for people.
        return {
            **{k: v for k, v in os.environ.items() if _CREDENTIALS.search(k)},
            "RESTIC_PROGRESS_FPS": "2",
            # For the times that it is given.
            "TZ": "UTC",
            **dict.fromkeys(_OVERRIDDEN, ""),
            # Everybody can read command lines, and a URL can contain a password.
            "RESTIC_REPOSITORY": self.settings.url,
        }

    def start(self, *command: str, bound: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start restic, with pipes for its output and its errors.

        :param bound: restic ends with the thread that started it; not under sudo, which does not
            pass that on. Its errors go to this file: a pipe would break with the thread, and restic
            would end before it has cleaned up.
        :raises RepositoryError: it is missing or too old
        """
        self.check()
        environment = self._environment()
        program = (*(_BOUND if bound else ()), self.settings.program, *self._options())
        return subprocess.Popen(
            self.privilege.argv(*program, *command, keep=sorted(environment)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=bound or subprocess.PIPE,
            env=self.privilege.environment(environment),
            start_new_session=True,
        )

    def run(self, *command: str, limit: float | None = None) -> str:
        """Run restic to its end; returns its standard output.

        :param limit: seconds after which restic is ended
        :raises RepositoryError: restic failed; says why, and what to do
        """
        with self.start(*command) as process:
            try:
                out, err = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                self.end(process)
                raise RepositoryError(
                    f"'restic {command[0]}' was stopped after {limit:g} s; check whether the "
                    f"repository {self.location} can be reached."
                ) from None
        if process.returncode:
            raise self.error(command[0], process.returncode, _text(err).splitlines())
        return _text(out)

    def lines(self, *command: str) -> Iterator[str]:
        """Run restic, and yield each line of its standard output.

        :raises RepositoryError: restic failed; says why, and what to do
        """
        with self.started(*command) as (process, errors):
            assert process.stdout is not None
            for line in process.stdout:
                yield _text(line)
            status = process.wait()
            if status:
                raise self.error(command[0], status, errors())

    @contextmanager
    def started(
        self, *command: str
    ) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[str]]]]:
        """Run restic while the block runs.

        :returns: the process, and a function that waits for it and returns its last error messages
        :raises RepositoryError: it is missing or too old
        """
        with TemporaryFile() as said, self.start(*command, bound=said) as process:

            def errors() -> list[str]:
                process.wait()
                size = os.fstat(said.fileno()).st_size
                last = os.pread(said.fileno(), _LAST_WORDS, max(0, size - _LAST_WORDS))
                return _text(last).splitlines()

            try:
                yield process, errors
            finally:
                self.end(process)

    def follow(
        self,
        namespace: MountNamespace,
        command: Sequence[str],
        read: Callable[[str], None],
        watch: StallGuard,
        through: Sequence[str | Path] = (),
    ) -> tuple[int, list[str]]:
        """Run restic in the namespace to its end.

        :param read: called with each line of the standard output
        :param through: a program with its arguments that runs restic, whose command line is
            appended, and reads its output
        :returns: the exit status, and the lines of the standard error
        :raises StoppedError: the copy was stopped
        :raises RepositoryError: the copy made no progress for too long
        """
        self.check()
        if watch.stopped:
            raise StoppedError(f"restic {command[0]} was not started: the run is to stop.")
        process = namespace.popen(
            *through,
            self.settings.program,
            *self._options(),
            *command,
            cwd=namespace.root,
            environment=self._environment(),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        errors: list[str] = []
        stderr = process.stderr
        drain = threading.Thread(target=lambda: errors.extend(map(str.rstrip, stderr)), daemon=True)
        drain.start()
        with process, watch.watching(lambda: self.end(process)):
            for line in process.stdout:
                read(line)
            status = process.wait()
            drain.join()
        if status and watch.stopped:
            raise StoppedError(f"restic {command[0]} was stopped.")
        if status and watch.stalled:
            raise RepositoryError(
                f"restic {command[0]} was stopped after {self.settings.stall_limit:g} s without "
                f"progress; check whether {self.location} can be reached, or raise stall_limit in "
                "[repository]."
            )
        return status, errors

    def end(self, process: subprocess.Popen[Any]) -> None:
        """End restic. After SIGINT it removes its lock, if it still can."""
        self.privilege.signal(process, SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.privilege.signal(process, SIGKILL)

    def error(self, doing: str, status: int, errors: Sequence[str]) -> RepositoryError:
        """What a failure of restic means.

        :param doing: restic's command
        :param errors: the lines of its standard error
        """
        text = "\n".join(errors).strip()
        for pattern, meaning, kind in _MEANINGS:
            if re.search(pattern, text, re.IGNORECASE):
                said = text.splitlines()[0]
                return kind(f"{meaning.format(location=self.location)}. restic said: {said}")
        shown = "\n".join(text.splitlines()[-5:]) or "it said nothing"
        return RepositoryError(
            f"'{shlex.join(['restic', doing])}' failed with exit status {status}: {shown}"
        )


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="surrogateescape")


def time_of(text: str) -> datetime:
    """Parse a time of restic. It has nanoseconds; datetime takes six digits."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
