"""What restic says of itself is told apart from the names of users' files that it prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from volflow.errors import PasswordError, RepositoryError
from volflow.movers.restic.messages import known, meaning
from volflow.movers.restic.said import Said

ROOT = Path("/var/lib/volflow/mount")
# Every word by which an error of a repository is recognised.
WORDS = [
    "forbidden",
    "access denied",
    "no such host",
    "wrong password or no key found",
    "read-only file system",
    "not a valid snapshot",
    "no matching ID found",
    "disk quota exceeded",
    "quota",
    "x509: unknown authority",
    "status code 503",
    "already locked",
    "config file already exists",
    "Fatal: wrong password or no key found",
    "a: no space left on device",
    "a\nFatal: wrong password or no key found",
    "a\nunable to open config file: not found",
    "a\npanic: forbidden",
    'a\n{"message_type":"exit_error","message":"Fatal: wrong password or no key found"}',
    'a" b: forbidden',
]


def _unreadable(name: str) -> str:
    """What restic 0.14 says of a directory that it cannot read, with --json."""
    error = {"Op": "lstat", "Path": f"regions/0/{name}", "Err": 117}
    item = f"{ROOT}/regions/0/{name}"
    return json.dumps({"message_type": "error", "error": error, "during": "archival", "item": item})


def _in_vain(name: str) -> str:
    """What a restore says of a file that it could not write."""
    path = f"/regions/0/{name}"
    return f"ignoring error for {path}: write {ROOT}{path}: no space left on device"


@pytest.mark.parametrize("name", WORDS)
def test_the_name_of_an_unreadable_file_means_nothing(name: str) -> None:
    said = [_unreadable(name), "Fatal: something new"]
    error = meaning("/r", "backup", 1, said, volumes=[ROOT])
    assert type(error) is RepositoryError
    assert str(error) == "'restic backup' failed with exit status 1: Fatal: something new"


@pytest.mark.parametrize("name", WORDS)
def test_the_name_of_a_file_that_is_restored_means_nothing(name: str) -> None:
    lines = "\n".join([_in_vain(name), _in_vain("plain"), "Fatal: There were 2 errors"])
    error = meaning("/r", "restore", 1, lines.splitlines(), volumes=[ROOT])
    assert type(error) is RepositoryError
    assert str(error).startswith("'restic restore' failed with exit status 1: ")


@pytest.mark.parametrize("name", [name for name in WORDS if "\n" not in name])
@pytest.mark.parametrize(
    "line",
    [
        "Fatal: unable to save snapshot: open {root}/regions/0/{name}: structure needs cleaning",
        "Fatal: unable to save snapshot: regions/0/{name}: structure needs cleaning",
        'Fatal: cannot dump file: path "/regions/0/{name}" not found',
        "Fatal: cannot stat /regions/0/{name}",
    ],
)
def test_a_path_of_a_volume_in_the_last_error_means_nothing(name: str, line: str) -> None:
    text = line.format(root=ROOT, name=name)
    error = meaning("/r", "dump", 1, [text], volumes=[ROOT])
    assert type(error) is RepositoryError
    assert str(error) == f"'restic dump' failed with exit status 1: {text}"


@pytest.mark.parametrize("name", WORDS)
def test_what_a_file_is_called_does_not_hide_the_reason(name: str) -> None:
    said = [_unreadable(name), "Fatal: wrong password or no key found"]
    assert isinstance(meaning("/r", "backup", 1, said, volumes=[ROOT]), PasswordError)


# restic 0.19 with --json.
LAST_ERROR = json.dumps(
    {
        "message_type": "exit_error",
        "code": 1,
        "message": "Fatal: unable to save snapshot: write /r/data/6b/6b81-tmp-31: no space left on "
        "device",
    }
)
# restic 0.14 whose lock could not be written.
NO_LOCK = """\
write /r/locks/5738-tmp-25: no space left on device
github.com/restic/restic/internal/backend/local.(*Local).Save
\tgithub.com/restic/restic/internal/backend/local/local.go:170
main.lockRepo
\tgithub.com/restic/restic/cmd/restic/lock.go:23
runtime.main
\truntime/proc.go:250
unable to create lock in backend""".splitlines()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([LAST_ERROR], "is full. restic said: Fatal: unable to save snapshot: write /r/data/"),
        (NO_LOCK, "/r cannot be written to. restic said: unable to create lock in backend"),
        (
            ["Save(<data/6b81>) failed: write: disk quota exceeded", "Fatal: unable to save"],
            "The repository /r is full. restic said: Save(<data/6b81>) failed: write: disk quota",
        ),
        (
            ['Load(<data/cc>, 20, 0) returned error: Get "http://h/data": dial tcp: refused'],
            "The repository /r cannot be reached. restic said: Load",
        ),
    ],
)
def test_the_real_words_of_restic_are_understood(said: list[str], words: str) -> None:
    assert words in str(known("/r", said))


def test_a_stack_of_go_is_not_shown() -> None:
    said = Said([*NO_LOCK, "Fatal: the end"])
    assert said.shown == f"{NO_LOCK[0]}\n{NO_LOCK[-1]}\nFatal: the end"
    assert said.own[0].names(Path("/r"))
    assert not said.own[0].names(Path("/r/lo"))
