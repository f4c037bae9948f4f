"""What the errors of restic mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volflow.disk.full import Room
from volflow.errors import (
    BackupNotFoundError,
    FullError,
    HostError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
    VolflowError,
)
from volflow.movers.restic.said import CRASHED, Said

# What the storages say if the file "config" is not there: REST and a directory, S3, SFTP, Swift,
# Azure, GCS, B2. Nothing else proves that the repository does not exist.
_NOT_THERE = (
    r"does not exist|doesn't exist|no such file or directory|\bno ?such ?(key|bucket|file)\b"
    r"|\bnot found\b|\b404\b"
)
# Exit statuses of restic 0.17 and newer.
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12
_ABSENT = "There is no repository at {location}; 'volflow repository init' creates one"
_LOCK = "The repository {location} is locked by {holder}"
_PASSWORD = "The password is not that of the repository {location}"

# A restore that found no space had less than this at its end.
_NEARLY_FULL = 64 * 2**20
# How restic (0.14 to 0.19) names the lock that is in its way.
_HOLDER = re.compile(r"already locked (?P<alone>exclusively )?by PID (?P<pid>\d+) on (?P<host>\S+)")
_CRASH_ADVICE = ". Try again, or install a newer restic"

_BY_STATUS: dict[int, tuple[str, type[RepositoryError]]] = {
    _NO_REPOSITORY: (_ABSENT, NoRepositoryError),
    _LOCKED: (_LOCK, RepositoryError),
    _WRONG_PASSWORD: (_PASSWORD, PasswordError),
}

# What restic (0.14 to 0.19) prints on its standard error, and what it means.
_MEANINGS: list[tuple[str, str, type[RepositoryError]]] = [
    (
        r"connection refused|no such host|network is unreachable|no route to host|i/o timeout"
        r"|connection reset|server misbehaving|name resolution|handshake timeout|\bdial (tcp|unix)"
        r"|deadline exceeded|timeout awaiting",
        "The repository {location} cannot be reached",
        RepositoryError,
    ),
    (
        r"\bx509: |\btls: |certificate (is|has|signed|verify)",
        "The server of the repository {location} does not prove its identity: check its "
        "certificate, and whether this host trusts the authority that has signed it",
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
        r"\b(error|status|code|response)\W+(429|5\d\d)\b|internal server error|bad gateway"
        r"|service ?unavailable|gateway time-?out|too many requests|slow ?down|internal ?error",
        "The server of the repository {location} has a problem or too much to do: try again later",
        RepositoryError,
    ),
    (
        rf"unable to open config file:(?!.*(authenticate|lookup )).*({_NOT_THERE})",
        _ABSENT,
        NoRepositoryError,
    ),
    (
        r"unable to open (config file|repository)",
        "The repository {location} cannot be opened, and restic does not say that it is missing: "
        "check the location and its server",
        RepositoryError,
    ),
    (
        r"wrong password or no key found",
        _PASSWORD,
        PasswordError,
    ),
    (
        r"config file already exists",
        "There is a repository at {location} already",
        RepositoryError,
    ),
    (r"already locked", _LOCK, RepositoryError),
    (
        r"unable to create lock|permission denied|read-only file system",
        "The repository {location} cannot be written to",
        RepositoryError,
    ),
    (
        r"no space left on device|quota|insufficient storage|minimum free drive",
        "The repository {location} is full",
        RepositoryError,
    ),
    (
        r"no matching ID found|no snapshot found|not a valid snapshot"
        r"|failed to load snapshot .*(no such file|not exist|not found)",
        "The repository {location} holds no such backup",
        BackupNotFoundError,
    ),
]


@dataclass(frozen=True)
class Place:
    """A directory of this host that restic writes to.

    :ivar name: what a message calls it
    :ivar path: its path
    :ivar needed: the bytes that restic must be able to write there
    :ivar room: what its file system can still take
    """

    name: str
    path: Path
    needed: int
    room: Room

    @property
    def problem(self) -> str:
        """What is wrong with it, as a sentence without its period; empty if nothing is."""
        why = self.room.problem(self.needed)
        return f"{self.name} {why}" if why else ""


@dataclass(frozen=True)
class Places:
    """Where restic writes.

    :ivar own: the repository, the temporary directory, the cache
    :ivar target: where a restore writes the files of a volume
    """

    own: Sequence[Place] = ()
    target: Sequence[Place] = ()


def meaning(
    location: str,
    doing: str,
    status: int,
    errors: Sequence[str],
    *,
    volumes: Sequence[Path] = (),
    look: Callable[[], Places] = Places,
) -> VolflowError:
    """What a failure of restic means: by facts where there are some, else by restic's own words.

    :param location: the repository's name, without secrets
    :param doing: restic's command
    :param errors: the lines of its standard error
    :param volumes: directories below which volumes are mounted
    :param look: looks at what restic writes to
    """
    said = Said(errors, volumes)
    quoted = said.fatal or (said.own[-1].text if said.own else said.shown)
    if status in _BY_STATUS and not said.of_files:
        return _told(location, said, *_BY_STATUS[status], quoted)
    places = look()
    if said.of_files and (error := _of_target(said, places)):
        return error
    if error := _of_place(said, places):
        return error
    if found := _known(location, said):
        return found
    problems = [each for place in places.own if (each := place.problem)]
    if status == CRASHED and said.crash:
        why = ". ".join(problems) or f"'restic {doing}' failed"
        return RepositoryError(
            f"{why}. restic crashed: {said.crash}{'' if problems else _CRASH_ADVICE}"
        )
    if not said.shown and problems:
        return RepositoryError(f"{'. '.join(problems)}. restic said nothing.")
    failed = f"'{shlex.join(['restic', doing])}' failed with exit status {status}"
    return RepositoryError(
        ". ".join([f"{failed}: {said.shown or 'it said nothing'}".rstrip("."), *problems])
    )


def _of_target(said: Said, places: Places) -> VolflowError | None:
    """What is wrong with the target of a restore that could not write some files."""
    for place in places.target:
        room = place.room
        # A file system keeps more than a few blocks for itself.
        needed = _NEARLY_FULL if said.seems_full else place.needed
        if problem := room.problem(needed):
            words = f"restic said: {said.shown}"
            if room.unusable:
                return HostError(f"{place.name} {problem}. {words}")
            return FullError(f"{place.name} {problem}. {words}", words)
    return None


def _of_place(said: Said, places: Places) -> VolflowError | None:
    """The place that an error of the system is about, where restic's own words name both."""
    for line in reversed(said.own):
        if not line.reason:
            continue
        named = [place for place in places.own if line.names(place.path)]
        if not named:
            continue
        place = max(named, key=lambda each: len(str(each.path)))
        # Its unfinished files have been removed meanwhile.
        why = place.problem or f"{place.name} {replace(place.room, refuses=line.reason).problem()}"
        return RepositoryError(f"{why}. restic said: {line.text}")
    return None


def known(location: str, errors: Sequence[str]) -> RepositoryError | None:
    """What known words of restic mean; quotes the line that has them."""
    return _known(location, Said(errors))


def _known(location: str, said: Said) -> RepositoryError | None:
    for pattern, words, kind in _MEANINGS:
        found = [line for line in said.own if re.search(pattern, line.words, re.IGNORECASE)]
        if found:
            return _told(location, said, words, kind, found[-1].text)
    return None


def _told(
    location: str, said: Said, words: str, kind: type[RepositoryError], quoted: str
) -> RepositoryError:
    holder = _holder(location, said) if words == _LOCK else ""
    return kind(f"{words.format(location=location, holder=holder)}. restic said: {quoted}")


def _holder(location: str, said: Said) -> str:
    """Who has locked the repository, and what to do about it.

    A lock that is not exclusive, of a backup or of a reader, is only in the way of what needs the
    repository for itself.
    """
    found = next(filter(None, (_HOLDER.search(line.text) for line in said.own)), None)
    unlock = shlex.join(["restic", "-r", location, "unlock"])
    if found is None:
        return (
            "another process: try again when it has ended. If that process is dead, remove its "
            f"lock: {unlock}"
        )
    works = (
        "which needs it for itself, to remove, prune or check backups"
        if found["alone"]
        else "which stores or reads a backup; to remove, prune or check backups, no other process "
        "may use it"
    )
    return (
        f"process {found['pid']} on host {found['host']}, {works}: try again when it has ended. If "
        f"that process is dead, remove its lock on that host: {unlock}"
    )
