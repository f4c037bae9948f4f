"""Only proof that a process has ended removes its lock from a repository of restic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.restic import program, replaced
from tests.support.waiting import until
from volflow.errors import RepositoryError
from volflow.host.identity import Process, host_name, started
from volflow.movers.restic import repository as restic_repository
from volflow.movers.restic.program import ResticProgram
from volflow.movers.restic.repository import ResticRepository

is_seen = restic_repository._is_seen

needs_restic = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("restic") is None,
    reason="a PID namespace needs root, and a lock needs restic",
)


@contextmanager
def locked(directory: Path, *before: str, again: bool = False) -> Iterator[int]:
    """A repository with the lock of a restic that runs behind a command; yields its process id.

    :param again: the repository exists, and has a lock
    """
    repository = directory / "repository"
    if not again:
        ResticRepository(program(directory)).init()
    with subprocess.Popen(
        [*before, "restic", "--no-cache", "--repo", str(repository), "backup", "--stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RESTIC_PASSWORD": "secret"},
        start_new_session=True,
    ) as process:
        try:
            until(lambda: len(list((repository / "locks").iterdir())) == 1 + again)
            yield process.pid
        finally:
            process.kill()


def locks(directory: Path) -> list[Path]:
    return list((directory / "repository" / "locks").iterdir())


@needs_restic
def test_a_living_lock_of_another_pid_namespace_stays(tmp_path: Path) -> None:
    """As of a container with the same host name: here, its process does not seem to exist."""
    # The next process in the namespace gets this number, which no process has here.
    free = next(n for n in range(20_000, 32_000) if not Path(f"/proc/{n}").exists())
    script = f'echo {free - 1} >/proc/sys/kernel/ns_last_pid; "$@"; exit'
    namespace = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with locked(tmp_path, *namespace, "sh", "-c", script, "sh"):
        repository = ResticRepository(program(tmp_path))
        ended = Process.of(_ended())
        elsewhere = replace(ended, pid=free, pid_namespace="0:1")
        for owners in ([], [Process.current()], [ended], [elsewhere]):
            with pytest.raises(RepositoryError, match="may belong to a running process"):
                repository.unlock(owners)
        assert len(locks(tmp_path)) == 1


@needs_restic
def test_the_lock_of_a_process_that_has_ended_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_repository, "_ENDS_WITHIN", 0.3)
    with locked(tmp_path) as pid:
        owners = [Process.of(_ended()), Process.of(pid)]
        repository = ResticRepository(program(tmp_path))
        repository.unlock()  # of a process that runs, and nobody expects to end
        with pytest.raises(RepositoryError, match=f"process {pid} that held it has not ended"):
            repository.unlock(owners)
        assert len(locks(tmp_path)) == 1
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with pytest.raises(RepositoryError, match="may belong to a running process"):
            repository.unlock()
        repository.unlock(owners)
        assert locks(tmp_path) == []


@needs_restic
def test_locks_of_several_copies_are_proved_by_the_processes_of_each(tmp_path: Path) -> None:
    """All copies of a killed run leave a lock, and each volume knows only its own process."""
    with locked(tmp_path) as one, locked(tmp_path, again=True) as other:
        first, second = [Process.of(one)], [Process.of(other)]
        repository = ResticRepository(program(tmp_path))
        for pid in (one, other):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        with pytest.raises(RepositoryError, match="may belong to a running process"):
            repository.unlock(first)
        repository.unlock(first, second)
        assert locks(tmp_path) == []


@needs_restic
@pytest.mark.parametrize("known", [True, False])
def test_a_zombie_is_waited_for_until_it_is_gone(tmp_path: Path, known: bool) -> None:
    """restic takes a zombie for a running process, and its lock for one in use."""
    with locked(tmp_path) as pid:
        owners = [Process.of(pid)]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not started(pid))
        looked = Seen(pid)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(restic_repository, "_is_seen", looked)
            if known:
                ResticRepository(program(tmp_path)).unlock(owners)
            else:
                with pytest.raises(RepositoryError, match="may belong to a running process"):
                    ResticRepository(program(tmp_path)).unlock()
        assert looked.times > 2
        assert (locks(tmp_path) == []) is known


class Seen:
    """Sees a zombie twice; then its parent takes notice of it."""

    def __init__(self, pid: int) -> None:
        self._pid, self.times = pid, 0

    def __call__(self, pid: int) -> bool:
        self.times += 1
        if self.times == 3:
            os.waitpid(self._pid, 0)
        return self.times < 3 if pid == self._pid else is_seen(pid)


def _ended() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


class Recorded(ResticProgram):
    """A repository with one lock of this host name; records what is done."""

    age: timedelta
    done: list[str]

    def run(self, *command: str, limit: float | None = None) -> str:
        self.done.append(command[0])
        if command[0] == "cat":
            time = (datetime.now(UTC) - self.age).isoformat()
            return json.dumps({"hostname": host_name(), "pid": _ended(), "time": time})
        return "f00d" * 16 + "\n" if command[0] == "list" else ""


@pytest.mark.parametrize(("minutes", "removed"), [(0, False), (29, False), (31, True)])
def test_a_lock_that_is_not_refreshed_is_stale_by_the_rule_of_restic(
    tmp_path: Path, minutes: int, removed: bool
) -> None:
    found = replaced(tmp_path, Recorded)
    found.age, found.done = timedelta(minutes=minutes), []
    if removed:
        ResticRepository(found).unlock()
    else:
        with pytest.raises(RepositoryError, match=r"wait until .* 'volflow leftover clean'"):
            ResticRepository(found).unlock()
    assert ("unlock" in found.done) is removed
