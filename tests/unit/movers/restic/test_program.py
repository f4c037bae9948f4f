"""How volflow calls restic, and what restic's errors mean."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.restic import program
from volflow.errors import (
    BackupNotFoundError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
)
from volflow.movers.restic.program import time_of


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05.123456Z",
        "2026-01-02T05:04:05.123456789+02:00",
    ],
)
def test_times_with_nanoseconds_are_parsed(text: str) -> None:
    assert time_of(text) == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (
            "Fatal: unable to open config file: stat /r/config: no such file or directory\n"
            "Is there a repository at the following location?\n/r",
            "There is no repository at .*'volflow repository init' creates one",
        ),
        ("Fatal: wrong password or no key found", "The password is not that of the repository"),
        (
            "Fatal: create repository at /r failed: config file already exists",
            "There is a repository at .* already",
        ),
        *(
            (
                f"{said}\nIs there a repository at the following location?\nr",
                "refuses access: check",
            )
            for said in (
                "Fatal: unable to open config file: Stat: Access Denied.",
                "Fatal: unable to open config file: Stat: The Access Key Id you provided does not "
                "exist in our records.",
                "Fatal: unable to open config file: Stat: The request signature we calculated does "
                "not match the signature you provided. Check your key and signing method.",
                "Fatal: unable to open config file: Stat: 403 Forbidden",
                "Fatal: unable to open config file: unexpected HTTP response (401): Unauthorized",
                "Fatal: unable to open config file: server response unexpected: status code 403",
                "Fatal: unable to open config file: conn.Authenticate: Authorization Failed",
                "Fatal: unable to open config file: Stat: Operation forbidden",
                "subprocess ssh: u@h: Permission denied (publickey).\n"
                "Fatal: unable to open config file: EOF",
                "Fatal: unable to open config file: stat /r/config: permission denied",
            )
        ),
        ("unable to create lock in backend: ... read-only file system", "cannot be written to"),
        (
            "unable to create lock in backend: open /r/locks/4: permission denied",
            "cannot be written to",
        ),
        ("Save(<data/1>) returned error: write: no space left on device", "is full"),
        (
            "Fatal: unable to open config file: Get https://h/: dial tcp: connection refused",
            "cannot be reached",
        ),
        ("Fatal: something new", "'restic backup' failed with exit status 1: Fatal: something new"),
        ("", "it said nothing"),
    ],
)
def test_an_error_of_restic_is_explained(tmp_path: Path, said: str, means: str) -> None:
    error = program(tmp_path).error("backup", 1, said.splitlines())
    assert not isinstance(error, BackupNotFoundError)
    with pytest.raises(RepositoryError, match=f"(?s){means}"):
        raise error


# What the storages say if a repository is not there, with restic 0.14 and newer.
ABSENT = [
    "<config/> does not exist",
    "stat /r/config: no such file or directory",
    "Stat: The specified key does not exist.",
    "client.GetObject: The specified bucket does not exist",
    "Lstat: file does not exist",
    "conn.Object: Object Not Found",
    "client.GetBlobReference: 404 The specified container does not exist.",
    "service.Objects.Get: storage: object doesn't exist",
]
# All else is trouble, though a repository can be there.
TROUBLE = [
    *(f"unexpected HTTP response ({status}): It" for status in (400, 429, 500, 502, 503, 504, 599)),
    'client.Head: Head "https://h/config": x509: certificate signed by unknown authority',
    'client.Head: Head "https://h/config": tls: failed to verify certificate: x509: not valid',
    'client.Head: Head "https://h/config": net/http: TLS handshake timeout',
    'client.Head: Head "http://h/config": dial tcp: lookup h on 1.1.1.1:53: no such host',
    'client.Head: Head "http://h/config": dial tcp: lookup h: Temporary failure in name resolution',
    'client.Head: Head "http://h/config": dial unix /s: connect: no such file or directory',
    'client.Head: Head "http://h/config": context deadline exceeded',
    'client.Head: Head "http://h/config": EOF',
    "client.GetObject: Bucket name cannot be shorter than 3 characters",
    "conn.Authenticate: Object Not Found",
    "We encountered an internal error, please try again.",
    "Stat: Please reduce your request rate. SlowDown",
    "context canceled",
    "input/output error",
    "something new",
]


@pytest.mark.parametrize("reason", ABSENT)
@pytest.mark.parametrize(
    ("status", "before"), [(1, "Fatal:"), (10, "Fatal: repository does not exist:")]
)
def test_a_positive_sign_means_that_there_is_no_repository(
    tmp_path: Path, reason: str, status: int, before: str
) -> None:
    said = [f"{before} unable to open config file: {reason}", "Is there a repository at the", "r"]
    found = program(tmp_path).error("cat", status, said)
    assert isinstance(found, NoRepositoryError)
    assert "'volflow repository init' creates one" in str(found)


@pytest.mark.parametrize("reason", TROUBLE)
def test_trouble_with_a_repository_is_not_its_absence(tmp_path: Path, reason: str) -> None:
    said = [f"Fatal: unable to open config file: {reason}", "Is there a repository at the", "r"]
    found = program(tmp_path).error("cat", 1, said)
    assert not isinstance(found, NoRepositoryError | PasswordError)
    assert reason in str(found)


@pytest.mark.parametrize(
    ("status", "kind", "means"),
    [
        (10, NoRepositoryError, "There is no repository"),
        (11, RepositoryError, "is locked by another process"),
        (12, PasswordError, "The password is not that"),
    ],
)
def test_the_exit_status_of_a_newer_restic_is_a_sign(
    tmp_path: Path, status: int, kind: type[RepositoryError], means: str
) -> None:
    found = program(tmp_path).error("cat", status, ["a warning", "Fatal: other words"])
    assert type(found) is kind
    assert means in str(found)
    assert str(found).endswith("restic said: Fatal: other words")


def _answering(tmp_path: Path, script: str) -> str:
    program = tmp_path / "restic"
    version = "[ $1 = version ] && echo restic 0.19.1 && exit"
    program.write_text(f"#!/bin/sh\n{version}\n{script}\n")
    program.chmod(0o700)
    return str(program)


@pytest.mark.parametrize(
    ("words", "means"),
    [
        ("", r"/repository can be reached, or raise look_limit in \[repository\]\.$"),
        ("Stat failed: 503 Service Unavailable", "has a problem or too much to do: try again"),
        ("<config/> does not exist, retrying", "restic said: <config/> does not exist, retrying$"),
        ("signal interrupt received, cleaning up", r"look_limit in \[repository\]\.$"),
    ],
)
@pytest.mark.parametrize("call", ["backups", "exists", "lines"])
def test_a_silent_repository_is_given_up(tmp_path: Path, words: str, means: str, call: str) -> None:
    """A newer restic tries for 15 minutes, and says meanwhile why."""
    script = f"echo '{words}' >&2; exec sleep 1000"
    found = program(tmp_path, restic=_answering(tmp_path, script), look_limit=1, stall_limit=1)
    calls: dict[str, Callable[[], object]] = {
        "backups": lambda: found.run("snapshots"),
        "exists": found.exists,
        "lines": lambda: list(found.lines("snapshots")),
    }
    with pytest.raises(RepositoryError, match=f"was ended after 1 s without.*{means}") as error:
        calls[call]()
    assert not isinstance(error.value, NoRepositoryError)


@pytest.mark.parametrize(
    "said",
    [
        'Fatal: no matching ID found for prefix "ab"',
        # restic 0.14, for a complete id.
        'invalid id "ab": no matching ID found for prefix "ab"',
        # restic 0.19, for a complete id.
        "Fatal: failed to find snapshot: failed to load snapshot [null]: open /r/snapshots/00: no "
        "such file or directory",
        "Fatal: failed to find snapshot: failed to load snapshot [null]: <snapshot/0000000000> "
        "does not exist",
    ],
)
def test_a_backup_that_does_not_exist_has_an_error_of_its_own(tmp_path: Path, said: str) -> None:
    assert isinstance(program(tmp_path).error("dump", 1, [said]), BackupNotFoundError)


def _script(tmp_path: Path, says: str) -> str:
    script = tmp_path / "restic"
    script.write_text(f"#!/bin/sh\necho '{says}'\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", (0, 14, 0)),
        ("restic 0.16.4 (v0.16.4-0-g3786536dc1) compiled with go1.22", (0, 16, 4)),
        ("restic 1.10.2-dev (compiled manually)", (1, 10, 2)),
    ],
)
def test_the_version_of_restic_is_read(tmp_path: Path, says: str, version: tuple[int, ...]) -> None:
    found = program(tmp_path, restic=_script(tmp_path, says))
    assert found.version == version
    found.check()


def test_an_old_restic_is_refused(tmp_path: Path) -> None:
    old = program(tmp_path, restic=_script(tmp_path, "restic 0.12.1 compiled with go1.18"))
    with pytest.raises(RepositoryError, match=r"0\.12\.1 is too old.*0\.14\.0"):
        old.check()


def test_a_missing_restic_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="install the package 'restic'"):
        program(tmp_path, restic=str(tmp_path / "nothing")).check()


def test_what_fails_line_by_line_says_why(tmp_path: Path) -> None:
    script = tmp_path / "restic"
    script.write_text(
        "#!/bin/sh\n[ $1 = version ] && echo restic 0.14.0 && exit\necho gone >&2; exit 1\n"
    )
    script.chmod(0o700)
    with pytest.raises(RepositoryError, match="gone"):
        list(program(tmp_path, restic=str(script)).lines("ls"))
