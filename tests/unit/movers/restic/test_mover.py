"""What restic is told, and what is made of what it tells."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from volflow import config
from volflow.errors import BackupNotFoundError, ConfigError, RepositoryError
from volflow.host.identity import host_name
from volflow.host.privilege import Privilege
from volflow.movers.restic import mover as restic
from volflow.movers.restic.mover import Restic


def _restic(tmp_path: Path, kind: type[Restic] = Restic, **options: object) -> Restic:
    conf = config.load([])
    password = tmp_path / "password"
    password.write_text("secret\n")
    values = {"location": str(tmp_path / "repository"), "password_file": str(password), **options}
    for name, value in values.items():
        conf.set_override(name, value, "repository")
    return kind(conf, Privilege(), tmp_path / "cache")


# Tags


@pytest.mark.parametrize(
    "value", ["plain", "a,b", "a=b", "", "with space", "new\nline", "schön ☃", "%2C"]
)
def test_a_tag_comes_back(value: str) -> None:
    """restic splits at commas, which names of volumes can hold."""
    packed = restic._pack({"name": value, "volume": "v"})
    assert not any("," in tag for tag in packed)
    assert restic._unpack(packed) == {"name": value, "volume": "v"}


def test_tags_of_others_are_left_out() -> None:
    assert restic._unpack(["volflow", "daily", "a=b"]) == {"a": "b"}


# Backups


class Recorded(Restic):
    """A repository with these snapshots: id, run, volume and second, and what was run on it."""

    snapshots: list[tuple[str, str, str, int]]
    done: list[tuple[str, ...]]

    def run(self, *command: str, limit: float | None = None) -> str:
        self.done.append(command)
        return json.dumps(
            [
                {
                    "id": one,
                    "time": f"2026-01-02T03:04:{second:02}Z",
                    "tags": ["volflow", f"run={run}", f"volume={volume}"],
                }
                for one, run, volume, second in self.snapshots
            ]
        )


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    found = _restic(tmp_path, kind=Recorded)
    assert isinstance(found, Recorded)
    found.snapshots = [
        ("b2", "b", "v", 5),
        ("a1", "a", "v", 1),
        ("a2", "a", "v", 3),
        ("w1", "a", "w", 2),
        ("b1", "b", "v", 4),
    ]
    found.done = []
    return found


def test_what_a_run_stored_last_is_the_backup(recorded: Recorded) -> None:
    assert [backup.id for backup in recorded.backups()] == ["w1", "a2", "b2"]


def test_with_a_backup_goes_what_it_replaced(recorded: Recorded) -> None:
    recorded.forget("a2")
    assert recorded.done[-1] == ("forget", "a1", "a2")


def test_what_was_replaced_is_pruned(recorded: Recorded) -> None:
    recorded.prune()
    assert recorded.done[1:] == [("forget", "a1", "b1"), ("prune",)]


# Locks


class Locked(Restic):
    """A repository with one lock, which restic does not remove."""

    holder: int
    host: str

    def run(self, *command: str, limit: float | None = None) -> str:
        if command[0] == "cat":
            return json.dumps({"hostname": self.host, "pid": self.holder})
        return "f00d" * 16 + "\n" if command[0] == "list" else ""


@pytest.fixture
def zombie() -> Iterator[int]:
    """A process that has ended, of which its parent has not taken note."""
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    yield process.pid
    process.wait()


def test_a_lock_whose_process_has_ended_must_go(tmp_path: Path, zombie: int) -> None:
    """restic takes a zombie for a living process, and says nothing."""
    found = _restic(tmp_path, kind=Locked)
    assert isinstance(found, Locked)
    found.holder, found.host = zombie, host_name()
    with pytest.raises(RepositoryError, match=f"Lock f00df00d .* process {zombie} .* has ended"):
        found.unlock()
    found.holder = os.getpid()
    found.unlock()
    found.holder, found.host = zombie, "another"
    found.unlock()


# Output


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05.123456Z",
        "2026-01-02T05:04:05.123456789+02:00",
    ],
)
def test_times_with_nanoseconds(text: str) -> None:
    assert restic.time_of(text) == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


def test_what_could_not_be_read() -> None:
    lines = [
        "a warning that is no JSON",
        json.dumps({"message_type": "error", "item": "/m/regions/0/a b", "error": {"Op": "read"}}),
        json.dumps({"message_type": "error", "item": "/m/regions/0/a b", "error": {"Op": "open"}}),
        json.dumps({"message_type": "status", "item": "/m/regions/0/c"}),
        json.dumps({"message_type": "error", "item": "", "error": "something else"}),
    ]
    assert restic._unread(lines, Path("/m")) == ("regions/0/a b", "something else")
    # Something there is: its exit status says so.
    assert restic._unread(["what nobody expects"], Path("/m")) == (restic._UNNAMED,)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (
            "Fatal: unable to open config file: stat /r/config: no such file or directory\n"
            "Is there a repository at the following location?\n/r",
            "There is no repository at .*'volflow repository init' makes one",
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
def test_what_an_error_means(tmp_path: Path, said: str, means: str) -> None:
    error = _restic(tmp_path).error("backup", 1, said.splitlines())
    assert not isinstance(error, BackupNotFoundError)
    with pytest.raises(RepositoryError, match=f"(?s){means}"):
        raise error


def test_a_backup_that_is_not_there(tmp_path: Path) -> None:
    said = ['Fatal: no matching ID found for prefix "ab"']
    assert isinstance(_restic(tmp_path).error("dump", 1, said), BackupNotFoundError)


# Where


@pytest.mark.parametrize(
    ("location", "local"),
    [
        ("/some/where", "/some/where"),
        ("local:/some/where", "/some/where"),
        ("rest:https://h/", None),
        ("s3:https://h/b", None),
        ("sftp:user@h:/r", None),
        ("rclone:remote:path", None),
        ("b2:bucket:path", None),
    ],
)
def test_a_repository_of_this_host(tmp_path: Path, location: str, local: str | None) -> None:
    expected = Path(local) if local else None
    assert _restic(tmp_path, location=location).local_path == expected


def test_its_name_holds_no_password(tmp_path: Path) -> None:
    assert _restic(tmp_path, location="rest:https://u:p@h/r").location == "rest:https://h/r"


# Options


def test_the_password_comes_from_one_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="either password_file or password_command"):
        _restic(tmp_path, password_command="cat /p").check()
    with pytest.raises(ConfigError, match="either password_file or password_command"):
        _restic(tmp_path, password_file=None).check()
    with pytest.raises(ConfigError, match=r"/nowhere .*does not exist"):
        _restic(tmp_path, password_file="/nowhere").check()


def test_a_relative_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="relative path"):
        _restic(tmp_path, location="here").check()


def _program(tmp_path: Path, says: str) -> str:
    program = tmp_path / "restic"
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", (0, 14, 0)),
        ("restic 0.16.4 (v0.16.4-0-g3786536dc1) compiled with go1.22", (0, 16, 4)),
        ("restic 1.10.2-dev (compiled manually)", (1, 10, 2)),
    ],
)
def test_its_version(tmp_path: Path, says: str, version: tuple[int, ...]) -> None:
    found = _restic(tmp_path, restic=_program(tmp_path, says))
    assert found.version == version
    found.check()


def test_too_old(tmp_path: Path) -> None:
    old = _restic(tmp_path, restic=_program(tmp_path, "restic 0.12.1 compiled with go1.18"))
    with pytest.raises(RepositoryError, match=r"0\.12\.1 is too old.*0\.14\.0"):
        old.check()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="install the package 'restic'"):
        _restic(tmp_path, restic=str(tmp_path / "nothing")).check()


def test_what_fails_line_by_line_says_why(tmp_path: Path) -> None:
    program = tmp_path / "restic"
    program.write_text(
        "#!/bin/sh\n[ $1 = version ] && echo restic 0.14.0 && exit\necho gone >&2; exit 1\n"
    )
    program.chmod(0o700)
    with pytest.raises(RepositoryError, match="gone"):
        list(_restic(tmp_path, restic=str(program)).lines("ls"))
