"""How volflow calls restic, and what restic's errors mean."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.restic import program
from volflow.errors import BackupNotFoundError, RepositoryError
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


@pytest.mark.parametrize(
    "said",
    [
        'Fatal: no matching ID found for prefix "ab"',
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
