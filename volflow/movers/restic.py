"""restic as the mover (https://restic.net): one restic snapshot is one backup of one volume.

The snapshot's host is the volume's id, so that ``restic forget --keep-...``, which groups by host,
keeps so many backups of each volume.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any
from urllib.parse import quote, unquote

from oslo_config import cfg

from volflow.errors import (
    BackupNotFoundError,
    ConfigError,
    NoRepositoryError,
    RepositoryError,
    StoppedError,
)
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege, find_program
from volflow.movers.base import MANIFEST, REGIONS, Copied, Saved, Stored
from volflow.movers.stall import Watch
from volflow.result import Figures

OLDEST = (0, 14, 0)
# The first version whose restore makes holes of zeros by itself.
SPARSE_RESTORE = (0, 15, 0)
# Exit status of restic backup: stored, but some files could not be read.
_SOME_UNREAD = 3
# Seconds that restic may take to end when it is asked to.
_PATIENCE = 5.0
# Marks our snapshots among others in the repository.
_TAG = "volflow"
# Variables by which restic and rclone take credentials of storage services.
_CREDENTIALS = re.compile(
    r"^(AWS|AZURE|B2|GOOGLE|OS|ST|RCLONE|RESTIC)_|^https?_proxy$|^no_proxy$", re.IGNORECASE
)
# These would contradict what volflow is configured with. Empty means unset to restic.
_OVERRIDDEN = (
    "RESTIC_REPOSITORY_FILE",
    "RESTIC_PASSWORD",
    "RESTIC_PASSWORD_FILE",
    "RESTIC_PASSWORD_COMMAND",
)

# Ids as Keystone makes them: what a project is called must not lead to another's repository.
_PROJECT_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# What restic says on its standard error (0.14 to 0.18), and what that means.
_MEANINGS = [
    (
        r"connection refused|no such host|network is unreachable|no route to host|i/o timeout",
        "The repository {location} cannot be reached",
        RepositoryError,
    ),
    (
        r"Is there a repository at the following location|unable to open config file",
        "There is no repository at {location}; 'volflow repository init' makes one",
        NoRepositoryError,
    ),
    (
        r"wrong password or no key found",
        "The password is not that of the repository {location}",
        RepositoryError,
    ),
    (
        r"config file already exists",
        "There is a repository at {location} already",
        RepositoryError,
    ),
    (
        r"unable to create lock|permission denied|read-only file system",
        "The repository {location} cannot be written to",
        RepositoryError,
    ),
    (r"no space left on device|quota", "The repository {location} is full", RepositoryError),
    (
        r"no matching ID found|no snapshot found|not a valid snapshot",
        "The repository {location} holds no such backup",
        BackupNotFoundError,
    ),
]


class Restic:
    """A restic repository.

    :param conf: volflow's configuration
    :param privilege: files of volumes are root's, and so is what reads them
    :param cache_dir: restic's cache unless ``[repository] cache_dir`` is set
    :param project_id: whose repository it is, where each project has its own
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        privilege: Privilege,
        cache_dir: Path,
        *,
        project_id: str | None = None,
    ) -> None:
        self._group = conf.repository
        self._project_id = project_id
        self._privilege = privilege
        self._cache_dir = str(self._group.cache_dir or cache_dir)
        self._known_version: tuple[int, ...] | None = None

    @property
    def location(self) -> str:
        """The repository's name, without the user and password that a URL can hold."""
        return masked(self._location)

    @property
    def restores_holes(self) -> bool:
        """Whether a sparse file never takes more room than it had while it is restored."""
        return self.version >= SPARSE_RESTORE

    @property
    def _location(self) -> str:
        if not self._group.location:
            raise ConfigError(
                "No repository is configured: set location in [repository] of volflow.conf, or "
                "OS_REPOSITORY__LOCATION, or give --repository."
            )
        return self._of_project(str(self._group.location))

    def _of_project(self, text: str) -> str:
        """Put the project's id where an option asks for it.

        :raises ConfigError: it is no id that may stand in a path or a command
        """
        if "{project_id}" not in text:
            return text
        if not _PROJECT_ID.fullmatch(self._project_id or ""):
            raise ConfigError(
                f"'{self._project_id}' is not the id of a project: it must be 32 hexadecimal "
                "digits to stand in the name of a repository or its password."
            )
        return text.replace("{project_id}", str(self._project_id))

    @property
    def local_path(self) -> Path | None:
        """The repository's directory where it is one of this host."""
        location = self._location
        if location.startswith("local:"):
            return Path(location.removeprefix("local:"))
        return None if re.match(r"[a-z0-9]+:", location) else Path(location)

    @property
    def version(self) -> tuple[int, ...]:
        """restic's version."""
        if self._known_version is None:
            if find_program(self._group.restic) is None:
                raise RepositoryError(
                    f"restic is not installed ('{self._group.restic}' was looked for): install "
                    "the package 'restic', or set restic in [repository]."
                )
            done = self._privilege.attempt(self._group.restic, "version")
            found = re.match(r"restic (\d+)\.(\d+)\.(\d+)", done.stdout)
            if not found:
                # sudo's refusal is not restic's.
                self._privilege.check()
                raise RepositoryError(
                    f"'{self._group.restic} version' does not name a version of restic: "
                    f"{(done.stdout + done.stderr).strip()}"
                )
            self._known_version = tuple(map(int, found.groups()))
        return self._known_version

    def check(self) -> None:
        """Make sure that restic is there and new enough, and that the options make sense."""
        if self.version < OLDEST:
            have, need = (".".join(map(str, v)) for v in (self.version, OLDEST))
            raise RepositoryError(
                f"restic {have} is too old, volflow needs {need} or newer: install a newer "
                "package 'restic', or set restic in [repository]."
            )
        self._password_options()
        if self.local_path and not self.local_path.is_absolute():
            raise ConfigError(
                f"The repository '{self._location}' is a relative path; give an absolute one, so "
                "that it is the same wherever volflow is started."
            )

    def init(self) -> None:
        """Make the repository."""
        self.check()
        self._run("init")

    def backups(self) -> list[Stored]:
        """All backups in the repository, the oldest first; shows that it can be written to."""
        self._local_is_writable()
        found = json.loads(self._run("snapshots", "--json", "--tag", _TAG)) or []
        stored = [
            Stored(
                id=snapshot["id"],
                created_at=datetime.fromisoformat(_to_microseconds(snapshot["time"])),
                tags=_unpack(snapshot.get("tags") or []),
            )
            for snapshot in found
        ]
        return sorted(stored, key=lambda backup: backup.created_at)

    def _local_is_writable(self) -> None:
        """Tell at once what restic tells after trying for most of a minute."""
        path = self.local_path
        if path is None:
            return
        there = self._privilege.attempt("test", "-d", str(path)).returncode == 0
        if there and self._privilege.attempt("test", "-w", str(path)).returncode:
            raise RepositoryError(
                f"The repository {self.location} cannot be written to: look at how its file "
                "system is mounted."
            )

    def save(
        self,
        namespace: MountNamespace,
        *,
        volume_id: str,
        tags: Mapping[str, str],
        parent_id: str | None,
        progress: Callable[[Copied], None],
        stopping: threading.Event,
    ) -> Saved:
        """Store what is below the namespace's root as one restic snapshot."""
        command = ["backup", "--json", "--host", volume_id]
        for tag in _pack(tags):
            command += ["--tag", tag]
        command += ["--parent", parent_id] if parent_id else ["--force"]
        # Relative to the root: a path is the same wherever the root is.
        command += [str(REGIONS), str(MANIFEST)]
        summary: dict[str, Any] = {}
        watch = Watch(stopping, self._group.stall_limit)

        def read(line: str) -> None:
            message = json.loads(line)
            if message["message_type"] == "status":
                copied = Copied(
                    message.get("files_done", 0),
                    message.get("total_files", 0),
                    message.get("bytes_done", 0),
                    message.get("total_bytes", 0),
                )
                watch.at(copied)
                progress(copied)
            elif message["message_type"] == "summary":
                summary.update(message)

        status, errors = self._follow(namespace, command, read, watch)
        if status not in (0, _SOME_UNREAD) or "snapshot_id" not in summary:
            raise self._error("backup", status, errors)
        # The manifest is ours and always new; only the volume's own files are counted.
        own = namespace.run("stat", "--format=%s", namespace.root / MANIFEST)
        return Saved(
            id=self._full_id(summary["snapshot_id"]),
            figures=Figures(
                files_new=summary["files_new"] - (not parent_id),
                files_changed=summary["files_changed"] - bool(parent_id),
                files_unmodified=summary["files_unmodified"],
                bytes_total=summary["total_bytes_processed"] - int(own),
                bytes_stored=summary["data_added"],
            ),
            unread=_unread(errors, namespace.root) if status == _SOME_UNREAD else (),
        )

    def _full_id(self, snapshot_id: str) -> str:
        """The whole of an id of which restic 0.14 tells only the beginning.

        The cache holds the snapshot that was just stored under its full name. Where it does not,
        the beginning is an id too.
        """
        done = self._privilege.attempt(
            "find", self._cache_dir, "-path", f"*/snapshots/*/{snapshot_id}*"
        )
        names = {Path(line).name for line in done.stdout.splitlines()}
        return names.pop() if len(names) == 1 else snapshot_id

    def manifest(self, backup_id: str) -> str:
        """The text of a backup's manifest."""
        return self._run("dump", backup_id, f"/{MANIFEST}")

    def restore(
        self,
        namespace: MountNamespace,
        backup_id: str,
        *,
        paths: Sequence[Path] = (REGIONS,),
        verify: bool = False,
        progress: Callable[[Copied], None],
        stopping: threading.Event,
    ) -> None:
        """Write what is below these paths of the backup below the namespace's root."""
        command = ["restore", backup_id, "--target", str(namespace.root)]
        for path in paths:
            command += ["--include", _pattern(path)]
        if verify:
            command.append("--verify")
        if self.restores_holes:
            command.append("--sparse")
        watch = Watch(stopping, self._group.stall_limit)

        def look() -> None:
            copied = Copied(bytes=namespace.used())
            watch.at(copied)
            progress(copied)

        with _polled(look):
            status, errors = self._follow(namespace, command, lambda _: None, watch)
        # Up to 0.17 a file that could not be restored is told, and the exit status is 1.
        if status:
            raise self._error("restore", status, errors)

    def _options(self) -> list[str]:
        options = ["--cache-dir", self._cache_dir]
        for option in self._group.options:
            options += ["--option", option]
        return options + self._password_options()

    def _password_options(self) -> list[str]:
        path = self._of_project(self._group.password_file or "")
        command = self._of_project(self._group.password_command or "")
        if bool(path) == bool(command):
            raise ConfigError(
                "The repository's password must come from one place: set either password_file or "
                "password_command in [repository]."
            )
        if command:
            return ["--password-command", command]
        if not Path(path).is_file():
            raise ConfigError(f"The password file {path} of [repository] does not exist.")
        return ["--password-file", str(Path(path).absolute())]

    def _environment(self) -> dict[str, str]:
        # Two reports a second are enough for a person to see.
        return {
            **{k: v for k, v in os.environ.items() if _CREDENTIALS.search(k)},
            "RESTIC_PROGRESS_FPS": "2",
            **dict.fromkeys(_OVERRIDDEN, ""),
            # Not on the command line, which everybody can read: a URL can hold a password.
            "RESTIC_REPOSITORY": self._location,
        }

    def _run(self, *command: str) -> str:
        self.check()
        environment = self._environment()
        done = subprocess.run(
            self._privilege.argv(
                self._group.restic, *self._options(), *command, keep=sorted(environment)
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=self._privilege.environment(environment),
            start_new_session=True,
            check=False,
        )
        if done.returncode:
            raise self._error(command[0], done.returncode, done.stderr.splitlines())
        return done.stdout

    def _follow(
        self,
        namespace: MountNamespace,
        command: Sequence[str],
        read: Callable[[str], None],
        watch: Watch,
    ) -> tuple[int, list[str]]:
        """Run restic in the namespace, hand on each line, and give its status and errors."""
        self.check()
        process = namespace.popen(
            self._group.restic,
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
        with process, watch.watching(lambda: self._end(process)):
            for line in process.stdout:
                if line.startswith("{"):
                    read(line)
            status = process.wait()
            drain.join()
        if status and watch.stopped:
            raise StoppedError(f"restic {command[0]} was stopped.")
        if status and watch.stalled:
            raise RepositoryError(
                f"restic {command[0]} was ended after {self._group.stall_limit:g} s without "
                f"progress; look whether {self.location} can be reached, or raise stall_limit in "
                "[repository]."
            )
        return status, errors

    def _end(self, process: subprocess.Popen[str]) -> None:
        # SIGINT is the signal after which restic removes its lock, if it still can.
        self._privilege.signal(process, SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._privilege.signal(process, SIGKILL)

    def _error(self, doing: str, status: int, errors: Sequence[str]) -> RepositoryError:
        text = "\n".join(errors).strip()
        for pattern, meaning, kind in _MEANINGS:
            if re.search(pattern, text, re.IGNORECASE):
                said = text.splitlines()[0]
                return kind(f"{meaning.format(location=self.location)}. restic said: {said}")
        shown = "\n".join(text.splitlines()[-5:]) or "it said nothing"
        return RepositoryError(
            f"'{shlex.join(['restic', doing])}' failed with exit status {status}: {shown}"
        )


def _pattern(path: Path) -> str:
    """The pattern that matches this path of a snapshot and what is below it, and nothing else."""
    return "/" + re.sub(r"([*?\[\\])", r"\\\1", str(path))


def masked(location: str) -> str:
    """A repository's name without the user and password that a URL can hold."""
    return re.sub(r"//[^/@]*@", "//", location)


def _pack(tags: Mapping[str, str]) -> list[str]:
    # restic splits what it is given at commas.
    return [_TAG, *(f"{key}={quote(value, safe='')}" for key, value in tags.items())]


def _unpack(tags: Sequence[str]) -> dict[str, str]:
    return {
        key: unquote(value) for key, mark, value in (tag.partition("=") for tag in tags) if mark
    }


def _to_microseconds(time: str) -> str:
    # restic writes nanoseconds, of which datetime takes six digits.
    return re.sub(r"(\.\d{6})\d+", r"\1", time)


def _unread(errors: Sequence[str], root: Path) -> tuple[str, ...]:
    """The paths below the root that restic could not read."""
    paths = []
    for line in errors:
        if line.startswith("{"):
            message = json.loads(line)
            if message.get("message_type") == "error":
                path = str(message.get("item") or message.get("error"))
                paths.append(path.removeprefix(f"{root}/"))
    return tuple(dict.fromkeys(paths))


@contextmanager
def _polled(act: Callable[[], None], seconds: float = 1.0) -> Iterator[None]:
    """Act every so many seconds, as long as the block runs."""
    over = threading.Event()

    def poll() -> None:
        while not over.wait(seconds):
            act()

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
