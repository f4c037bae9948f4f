"""What a failure of restic means is decided by what its file systems can still take."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from volflow.disk.full import Room
from volflow.errors import FullError, HostError, RepositoryError, VolflowError
from volflow.movers.restic.messages import Place, Places, meaning

SAID = "ignoring error for /regions/0/blob: write /m/regions/0/blob: no space left on device"
# What restic 0.14 prints when its repository is full.
CRASH = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x10 pc=0x790fec]

goroutine 46 [running]:
github.com/restic/restic/internal/archiver.(*BlobSaver).Save(0x0, {0x104abd0, 0xc000096680}, 0x2)
\tgithub.com/restic/restic/internal/archiver/blob_saver.go:49 +0x6c
golang.org/x/sync/errgroup.(*Group).Go.func1()
\tgolang.org/x/sync/errgroup/errgroup.go:75 +0x64
created by golang.org/x/sync/errgroup.(*Group).Go
\tgolang.org/x/sync/errgroup/errgroup.go:72 +0xa5""".splitlines()
MUCH = Room(2**40, 1_000_000)
PACKS = 64 * 2**20
REPOSITORY = Place("The repository /tmp/r", Path("/tmp/r"), PACKS, MUCH)
TEMPORARY = Place("The temporary directory /tmp", Path("/tmp"), PACKS, MUCH)
CACHE = Place("The cache directory /c", Path("/c"), 1, MUCH)
TARGET = Place("The file system that is restored to", Path("/m/regions/0"), 2**20, MUCH)


def _meaning(
    doing: str,
    said: list[str],
    *,
    status: int = 1,
    repository: Room = MUCH,
    temporary: Room = MUCH,
    cache: Room = MUCH,
    target: Room = MUCH,
) -> VolflowError:
    places = Places(
        [
            replace(REPOSITORY, room=repository),
            replace(TEMPORARY, room=temporary),
            replace(CACHE, room=cache),
        ],
        [replace(TARGET, room=target)],
    )
    return meaning("/tmp/r", doing, status, said, volumes=[Path("/m")], look=lambda: places)


@pytest.mark.parametrize(
    ("room", "why"),
    [
        (Room(4096, 100), "is full (4,096 bytes free)"),
        (Room(2**30, 100, errno.ENOSPC), "is full (1,073,741,824 bytes free)"),
        (Room(2**30, 2), "is full: it has 2 free inodes, and 1,073,741,824 bytes free"),
        (Room(2**30, None, errno.EDQUOT), "has reached its disk quota (1,073,741,824 bytes free)"),
        # A file system keeps a little for itself.
        (Room(8 * 2**20, 100), "is full: it has only 8,388,608 bytes free"),
    ],
)
def test_a_target_that_is_full_is_not_the_repository(room: Room, why: str) -> None:
    error = _meaning("restore", [SAID, "Fatal: There were 1 errors"], target=room)
    assert isinstance(error, FullError)
    assert str(error).startswith(f"The file system that is restored to {why}")
    assert "repository" not in str(error)
    assert SAID in error.said


@pytest.mark.parametrize(
    ("refuses", "why"), [(errno.EROFS, "is read-only"), (errno.EIO, "reports errors")]
)
def test_a_target_that_refuses_everything_is_named(refuses: int, why: str) -> None:
    error = _meaning("restore", [SAID], target=Room(2**30, None, refuses))
    assert type(error) is HostError
    assert str(error).startswith(f"The file system that is restored to {why}")


def test_words_alone_do_not_make_a_target_full() -> None:
    error = _meaning("restore", [SAID, "Fatal: There were 1 errors"])
    assert type(error) is RepositoryError
    assert "is full" not in str(error)


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("repository", "The repository /tmp/r is full: it has only 5,230,592 bytes free"),
        ("temporary", "The temporary directory /tmp is full: it has only 5,230,592 bytes free"),
    ],
)
def test_a_crash_names_the_place_that_is_full(full: str, name: str) -> None:
    room = Room(5_230_592, 1000)
    error = _meaning("backup", CRASH, status=2, **{full: room})  # type: ignore[arg-type]
    assert str(error).startswith(name)
    assert str(error).endswith(f"restic crashed: {CRASH[0]}")


def test_a_crash_without_a_reason_is_called_one() -> None:
    error = _meaning("backup", CRASH, status=2)
    assert str(error).startswith(f"'restic backup' failed. restic crashed: {CRASH[0]}. Try again")


def test_a_restic_that_could_say_nothing_is_explained() -> None:
    """The file for its errors is in the temporary directory, too."""
    error = _meaning("backup", [], status=2, temporary=Room(0, 5))
    assert str(error) == "The temporary directory /tmp is full (0 bytes free). restic said nothing."


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tmp/r/data/6b/6b81-tmp-31", "The repository /tmp/r"),
        ("/tmp/restic-temp-pack-111", "The temporary directory /tmp"),
        ("/c/CACHEDIR.TAG", "The cache directory /c"),
    ],
)
@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("no space left on device", "is full"),
        ("disk quota exceeded", "has reached its disk quota"),
        ("read-only file system", "is read-only"),
        ("input/output error", "reports errors"),
    ],
)
def test_the_last_error_names_one_of_several_places(
    path: str, name: str, reason: str, why: str
) -> None:
    line = f"Fatal: unable to save snapshot: write {path}: {reason}"
    error = _meaning("backup", [line])
    assert str(error).startswith(f"{name} {why}")
    assert str(error).endswith(f"restic said: {line}")


def test_another_reason_stands_before_what_is_full() -> None:
    error = _meaning("backup", ["Fatal: something new"], repository=Room(0, 5))
    assert str(error) == (
        "'restic backup' failed with exit status 1: Fatal: something new. The repository /tmp/r is "
        "full (0 bytes free)"
    )


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("backup", "Save(<data/1>) returned error: write: no space left on device"),
        ("restore", "unable to create lock in backend: open /r/locks/1: no space left on device"),
    ],
)
def test_a_repository_that_takes_nothing_is_named(doing: str, said: str) -> None:
    error = _meaning(doing, [said])
    assert isinstance(error, RepositoryError)
    assert "The repository /tmp/r " in str(error)


@pytest.mark.parametrize("fatal", ["", "Fatal: "])
@pytest.mark.parametrize("status", [1, 11])
@pytest.mark.parametrize(
    ("alone", "holder"),
    [
        (
            "",
            "which stores or reads a backup; to remove, prune or check backups, no other process ",
        ),
        ("exclusively ", "which needs it for itself, to remove, prune or check backups: try again"),
    ],
)
def test_a_lock_says_who_has_it_and_why_it_is_in_the_way(
    fatal: str, status: int, alone: str, holder: str
) -> None:
    said = [
        f"{fatal}unable to create lock in backend: repository is already locked {alone}by PID 185 "
        "on vm by root (UID 0, GID 0)",
        "lock was created at 2026-11-27 13:34:24 (4.106192904s ago)",
        "storage ID 6cffe082",
        "the `unlock` command can be used to remove stale locks",
    ]
    found = str(_meaning("prune", said, status=status))
    assert found.startswith(
        f"The repository /tmp/r is locked by process 185 on host vm, {holder}"
    ), found
    assert (
        "If that process is dead, remove its lock on that host: restic -r /tmp/r unlock. " in found
    )
    assert found.endswith(f"restic said: {said[0]}")


def test_a_lock_of_which_restic_says_nothing_has_no_holder() -> None:
    found = str(_meaning("prune", ["Fatal: other words"], status=11))
    assert found == (
        "The repository /tmp/r is locked by another process: try again when it has ended. If that "
        "process is dead, remove its lock: restic -r /tmp/r unlock. restic said: Fatal: other words"
    )
