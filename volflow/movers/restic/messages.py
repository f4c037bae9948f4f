"""What the errors of restic mean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from volflow.errors import (
    BackupNotFoundError,
    FullError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
    VolflowError,
)

# What the storages say if the file "config" is not there: REST and a directory, S3, SFTP, Swift,
# Azure, GCS, B2. Nothing else proves that the repository does not exist.
_NOT_THERE = (
    r"does not exist|doesn't exist|no such file or directory|\bno ?such ?(key|bucket|file)\b"
    r"|\bnot found\b|\b404\b"
)
# Exit statuses of restic 0.17 and newer.
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12
_ABSENT = "There is no repository at {location}; 'volflow repository init' creates one"
_LOCK = (
    "The repository {location} is locked by another process, which removes, prunes or checks "
    "backups: try again when it has ended. If it was killed, 'restic unlock' removes its lock"
)
_PASSWORD = "The password is not that of the repository {location}"

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
    (r"no space left on device|quota", "The repository {location} is full", RepositoryError),
    (
        r"no matching ID found|no snapshot found|not a valid snapshot"
        r"|failed to load snapshot .*(no such file|not exist|not found)",
        "The repository {location} holds no such backup",
        BackupNotFoundError,
    ),
]
# What a restore says of each file that it could not write.
_TARGET_FULL = re.compile(
    r"^ignoring error for .*(no space left on device|disk quota exceeded)", re.IGNORECASE
)


def meaning(location: str, doing: str, status: int, errors: Sequence[str]) -> VolflowError:
    """What a failure of restic means.

    :param location: the repository's name, without secrets
    :param doing: restic's command
    :param errors: the lines of its standard error
    """
    if doing == "restore" and (full := [one for one in errors if _TARGET_FULL.search(one)]):
        said = f"restic said: {full[-1]}"
        return FullError(f"The file system that is restored to is full. {said}", said)
    text = "\n".join(errors).strip()
    if status in _BY_STATUS:
        words, kind = _BY_STATUS[status]
        said = next((line for line in text.splitlines() if line.startswith("Fatal")), text)
        return kind(f"{words.format(location=location)}. restic said: {said}")
    if found := known(location, text):
        return found
    shown = "\n".join(text.splitlines()[-5:]) or "it said nothing"
    return RepositoryError(
        f"'{shlex.join(['restic', doing])}' failed with exit status {status}: {shown}"
    )


def known(location: str, text: str) -> RepositoryError | None:
    """What known words of restic mean; quotes the line that has them."""
    for pattern, words, kind in _MEANINGS:
        found = [line for line in text.splitlines() if re.search(pattern, line, re.IGNORECASE)]
        if found:
            said = f"{words.format(location=location)}. restic said: {found[-1]}"
            return kind(said)
    return None
