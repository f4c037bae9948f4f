"""State database problems: a clear error, nothing lost, nothing left after a resume."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.cloud import run as run_program
from tests.support.controlled_runs import begin, held, hook, query, run
from tests.support.site import Site

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("fork_server")]


@pytest.fixture
def volume(site: Site) -> str:
    found = site.cloud.create(name="volume")
    site.cloud.fill(found, "ext4", lambda root: (root / "file").write_text("text\n" * 1000))
    return found


@pytest.fixture
def small_disk(site: Site, scratch: Path) -> Iterator[Path]:
    """A state directory on a separate small disk."""
    disk = scratch / "small disk"
    disk.mkdir()
    run_program("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk))
    try:
        state = disk / "state"
        site.overrides["DEFAULT__state_dir"] = state
        # This test is not about the cache.
        site.overrides["repository__cache_dir"] = site.home / "cache"
        site.auditor.states = [state]
        yield state
    finally:
        run_program("umount", str(disk))
        disk.rmdir()


def resumed(site: Site, state: Path) -> None:
    """Resume the one open run, and check that everything is complete."""
    ((left,),) = query(
        site, "SELECT id FROM run WHERE state IN ('RUNNING', 'SUSPENDED')", state=state
    )
    answer = run(site, "resume", left)
    assert answer.result == "complete", answer
    assert [str(finding) for finding in site.findings()] == []


def fill(disk: Path) -> Path:
    """Fill a disk completely."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_runs_side_by_side_share_one_database(site: Site, volume: str) -> None:
    volumes = [volume, *site.cloud.clones(volume, ["second", "third", "fourth"])]
    processes = [begin(site, "backup", each) for each in volumes]
    assert [process.end().result for process in processes] == ["complete"] * 4
    states = query(site, "SELECT state FROM run")
    assert states == [("COMPLETE",)] * 4


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("temporary volume", marks=pytest.mark.slow),
        "copy",
        pytest.param("unmount", marks=pytest.mark.slow),
    ],
)
def test_a_full_disk_fails_the_run_and_loses_nothing(
    site: Site, small_disk: Path, volume: str, step: str
) -> None:
    with held(site, "backup", volume, step=step) as process:
        ballast = fill(small_disk.parent)
        process.go_on()
        answer = process.end()
    assert answer.error, answer
    assert "the disk is full" in answer.error
    assert "then resume" in answer.error
    ballast.unlink()
    resumed(site, small_disk)


def test_a_disk_full_from_the_start_makes_nothing(
    site: Site, small_disk: Path, volume: str
) -> None:
    small_disk.mkdir()
    ballast = fill(small_disk.parent)
    done = site.cli("backup", "create", volume)
    assert done.returncode == 1
    assert "the disk is full" in done.stderr.lower() or "no space left" in done.stderr.lower()
    assert "Traceback" not in done.stderr
    ballast.unlink()
    assert run(site, "backup", volume).result == "complete"


def test_a_read_only_database_refuses_to_resume(site: Site, small_disk: Path, volume: str) -> None:
    left = run_killed(site, small_disk, volume)
    with read_only(small_disk):
        done = site.cli("run", "resume", left)
        assert done.returncode == 1
        assert "read-only" in done.stderr.lower() or "is not writable" in done.stderr
        assert "Traceback" not in done.stderr
    resumed(site, small_disk)


def run_killed(site: Site, state: Path, volume: str) -> str:
    """The id of a run that was killed."""
    hooks = (hook("copy", "kill"),)
    assert run(site, "backup", volume, hooks=hooks).exit == -9
    return str(query(site, "SELECT id FROM run", state=state)[0][0])


@contextmanager
def read_only(state: Path) -> Iterator[None]:
    """The disk with the state is read-only."""
    run_program("mount", "-o", "remount,ro", str(state.parent))
    try:
        yield
    finally:
        run_program("mount", "-o", "remount,rw", str(state.parent))


def test_a_database_read_only_from_the_start_makes_nothing(
    site: Site, small_disk: Path, volume: str
) -> None:
    assert run(site, "backup", volume).result == "complete"
    with read_only(small_disk):
        done = site.cli("backup", "create", volume)
        assert done.returncode == 1
        assert "read-only" in done.stderr.lower() or "is not writable" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_lock_for_a_moment_is_waited_for(site: Site, volume: str) -> None:
    with held(site, "backup", volume, step="copy") as process:
        with locked(site.state):
            process.go_on()
            process.process.join(3)
            assert process.process.is_alive()
        assert process.end().result == "complete"


@pytest.mark.slow
def test_a_lock_for_long_ends_the_run(site: Site, volume: str) -> None:
    url = f"sqlite:///{site.state / 'state.sqlite'}?timeout=2"
    with (
        held(site, "backup", volume, step="copy", state__connection=url) as process,
        locked(site.state),
    ):
        process.go_on()
        answer = process.end()
    assert answer.error, answer
    assert "kept it locked for too long" in answer.error
    resumed(site, site.state)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Another connection locks the database exclusively."""
    with closing(sqlite3.connect(state / "state.sqlite", timeout=30)) as database:
        database.isolation_level = None
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")


def test_a_server_must_be_migrated_by_the_operator(site: Site, volume: str) -> None:
    from tests.support import postgresql

    try:
        server = postgresql.running()
        url = server.__enter__()
    except postgresql.Unavailable as error:
        pytest.skip(str(error))
    try:
        site.overrides["state__connection"] = url
        refused = site.cli("backup", "create", volume)
        assert refused.returncode == 1
        assert "volflow state migrate" in refused.stderr
        migrated = site.cli("state", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        done = site.cli("backup", "create", volume)
        assert done.returncode == 0, done.stderr
        listed = site.cli("run", "list", "-f", "value", "-c", "State")
        assert listed.stdout.split() == ["complete"]
    finally:
        server.__exit__(None, None, None)


def test_runs_that_ended_long_ago_are_forgotten(site: Site, volume: str) -> None:
    long_ago = "2020-01-01 00:00:00"
    for _ in range(2):
        assert run(site, "backup", volume).result == "complete"
    (first, second) = (row[0] for row in query(site, "SELECT id FROM run ORDER BY created_at"))
    query(site, "UPDATE run SET finished_at = ?", long_ago)
    left_over = "UPDATE ledger SET state = 'LEFTOVER' WHERE kind = 'snapshot' AND run_id = ?"
    query(site, left_over, first)
    assert run(site, "backup", volume, DEFAULT__keep_runs=30).result == "complete"
    left = {row[0] for row in query(site, "SELECT id FROM run")}
    assert first in left
    assert second not in left
    assert len(left) == 2
    # Its backup exists and is listed.
    listed = site.cli("backup", "list", "-f", "value", "-c", "ID")
    assert len(listed.stdout.split()) == 3
    assert site.cli("leftover", "clean").returncode == 0


def test_the_state_is_for_its_owner_only(site: Site, volume: str) -> None:
    assert run(site, "backup", volume).result == "complete"
    for name in ("state.sqlite", "state.sqlite-wal", "state.sqlite-shm"):
        file = site.state / name
        assert not file.exists() or not os.stat(file).st_mode & 0o077
    assert os.stat(site.state).st_mode & 0o777 == 0o700
