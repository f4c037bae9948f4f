"""Only proof that a process has ended removes its lock from a repository of restic."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.restic import program, replaced
from tests.support.waiting import until
from volflow.errors import RepositoryError
from volflow.host.identity import Process, host_name, started
from volflow.movers.restic import locks as restic_locks
from volflow.movers.restic.locks import Locks
from volflow.movers.restic.program import ResticProgram
from volflow.movers.restic.repository import ResticRepository

is_seen = restic_locks._is_seen

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
            until(lambda: len(locks(directory)) == 1 + again)
            yield process.pid
        finally:
            process.kill()


@contextmanager
def locked_elsewhere(directory: Path, pid: int, *, again: bool = False) -> Iterator[None]:
    """The lock of a restic with this id in another PID namespace, as in another container.

    It has the host name of this host.
    """
    # The next process in the namespace gets this number.
    script = f'echo {pid - 1} >/proc/sys/kernel/ns_last_pid; "$@"; exit'
    namespace = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with locked(directory, *namespace, "sh", "-c", script, "sh", again=again):
        (*_, newest) = sorted(locks(directory), key=lambda lock: lock.stat().st_mtime_ns)
        assert _content(directory, newest.name)["pid"] == pid
        yield


def _content(directory: Path, lock_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(program(directory).run("cat", "lock", lock_id, "--no-lock"))
    return found


def locks(directory: Path) -> list[Path]:
    # restic gives a file its name when it is complete.
    found = (directory / "repository" / "locks").iterdir()
    return [lock for lock in found if "-tmp-" not in lock.name]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@needs_restic
def test_a_living_lock_of_another_pid_namespace_stays(tmp_path: Path) -> None:
    """As of a container with the same host name: here, its process does not seem to exist."""
    free = next(n for n in range(20_000, 32_000) if not Path(f"/proc/{n}").exists())
    with locked_elsewhere(tmp_path, free):
        ended = Process.of(_ended())
        elsewhere = replace(ended, pid=free, started="1", pid_namespace="0:1")
        with pytest.raises(RepositoryError, match="may belong to a running process"):
            Locks(program(tmp_path)).remove([elsewhere])
        assert len(locks(tmp_path)) == 1


@needs_restic
def test_the_lock_of_another_process_is_its_own_concern(tmp_path: Path) -> None:
    """A copy that failed and left no lock leaves nothing over while another container works."""
    recorded = replaced(tmp_path, Recording)
    free = next(n for n in range(20_000, 32_000) if not Path(f"/proc/{n}").exists())
    with locked_elsewhere(tmp_path, free):
        for owners in ([], [Process.current()], [Process.of(_ended())]):
            Locks(recorded).remove(owners)
        assert "unlock" not in recorded.done
        assert len(locks(tmp_path)) == 1


@needs_restic
def test_a_process_proves_no_lock_of_another_time(tmp_path: Path) -> None:
    """A restic in another container has the id of a process that ended here, or began later."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        ended = Process.of(process.pid)
        process.kill()
    earlier = replace(ended, ended=datetime.now(UTC) - timedelta(minutes=1))
    later = replace(ended, started=str(int(ended.started) + 60 * os.sysconf("SC_CLK_TCK")))
    with locked_elsewhere(tmp_path, ended.pid):
        for other in (earlier, later):
            assert other.has_ended()
            Locks(program(tmp_path)).remove([other])
            assert len(locks(tmp_path)) == 1
        with locked(tmp_path, again=True) as pid:
            owners = [Process.of(pid)]
            kill(pid)
        for other in (earlier, later):
            with pytest.raises(RepositoryError, match="may belong to a running process"):
                Locks(program(tmp_path)).remove(owners, [other])
        assert len(locks(tmp_path)) == 2


@needs_restic
def test_restic_sends_no_signal_to_another_program(tmp_path: Path) -> None:
    """restic would send SIGHUP to whatever has the id that is in a lock."""
    with subprocess.Popen(["sleep", "1000"]) as unrelated:
        try:
            with locked_elsewhere(tmp_path, unrelated.pid):
                # Its number was that of a copy before.
                owner = replace(Process.of(unrelated.pid), started="1")
                assert owner.has_ended()
                with pytest.raises(RepositoryError, match=r"sleep, not restic: .* SIGHUP"):
                    Locks(program(tmp_path)).remove([owner])
                with locked(tmp_path, again=True) as pid:
                    owner = Process.of(pid)
                    kill(pid)
                with pytest.raises(RepositoryError, match=r"sleep, not restic: .* SIGHUP"):
                    Locks(program(tmp_path)).remove([owner])
                assert len(locks(tmp_path)) == 2
            assert unrelated.poll() is None
        finally:
            unrelated.kill()


@needs_restic
@pytest.mark.parametrize("root_only", [False, True])
def test_a_restic_that_runs_keeps_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root_only: bool
) -> None:
    readlink = os.readlink

    def refuse(path: str) -> str:
        if path.endswith("/exe"):
            raise PermissionError
        return readlink(path)

    if root_only:
        monkeypatch.setattr(restic_locks.os, "readlink", refuse)
    with locked(tmp_path) as running, locked(tmp_path, again=True) as ended:
        kept, owners = locks(tmp_path), [Process.of(ended)]
        kill(ended)
        Locks(program(tmp_path)).remove(owners)
        (left,) = locks(tmp_path)
        assert left in kept
        assert _content(tmp_path, left.name)["pid"] == running


@needs_restic
def test_a_lock_that_is_taken_meanwhile_is_looked_at_before_any_is_removed(tmp_path: Path) -> None:
    recorded = replaced(tmp_path, Recording)
    free = next(n for n in range(20_000, 32_000) if not Path(f"/proc/{n}").exists())
    with locked(tmp_path) as pid, ExitStack() as stack:
        owners = [Process.of(pid)]
        kill(pid)

        def take() -> None:
            if recorded.done.count("list") == 2 and "unlock" not in recorded.done:
                recorded.before = lambda: None
                stack.enter_context(locked_elsewhere(tmp_path, free, again=True))

        recorded.before = take
        with pytest.raises(RepositoryError, match="may belong to a running process"):
            Locks(recorded).remove(owners)
        assert "unlock" not in recorded.done
        assert len(locks(tmp_path)) == 2


@needs_restic
def test_a_program_that_has_just_ended_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked(tmp_path) as pid:
        owners = [Process.of(pid)]
        kill(pid)
        looks = iter([True])
        monkeypatch.setattr(restic_locks, "started", lambda pid: "1")
        monkeypatch.setattr(restic_locks, "_is_seen", lambda pid: next(looks, False))
        Locks(program(tmp_path)).remove(owners)
        assert locks(tmp_path) == []


class Recording(ResticProgram):
    """A real restic; records what is done, and calls a function before each command."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.done: list[str] = []
        self.before: Callable[[], None] = lambda: None

    def run(self, *command: str, limit: float | None = None) -> str:
        self.done.append(command[0])
        self.before()
        return super().run(*command, limit=limit)


@pytest.mark.parametrize(
    ("path", "is_restic"),
    [
        ("/usr/bin/restic", True),
        ("/opt/restic_0.17.3_linux_amd64", True),
        ("/opt/restic-0.16", True),
        ("/opt/restic-exporter", False),
        ("/usr/bin/python3.11", False),
        ("{}/saver", True),
        ("/opt/saver", False),
        ("", False),
    ],
)
def test_restic_is_known_by_its_name_or_as_the_configured_program(
    tmp_path: Path, path: str, is_restic: bool
) -> None:
    (tmp_path / "saver").write_text("")
    (tmp_path / "saver").chmod(0o755)
    (tmp_path / "link").symlink_to("saver")
    configured = program(tmp_path, restic=str(tmp_path / "link"))
    assert Locks(configured)._is_restic(path.format(tmp_path.resolve())) is is_restic


@needs_restic
def test_the_lock_of_a_process_that_has_ended_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restic_locks, "_ENDS_WITHIN", 0.3)
    with locked(tmp_path) as pid:
        owners = [Process.of(_ended()), Process.of(pid)]
        found = Locks(program(tmp_path))
        with pytest.raises(RepositoryError, match=f"process {pid} that held it has not ended"):
            found.remove(owners)
        assert len(locks(tmp_path)) == 1
        kill(pid)
        found.remove()
        assert len(locks(tmp_path)) == 1
        found.remove([process.looked_at() for process in owners])
        assert locks(tmp_path) == []


@needs_restic
def test_locks_of_several_copies_are_proved_by_the_processes_of_each(tmp_path: Path) -> None:
    """All copies of a killed run leave a lock, and each volume knows only its own process."""
    with locked(tmp_path) as one, locked(tmp_path, again=True) as other:
        first, second = [Process.of(one)], [Process.of(other)]
        for pid in (one, other):
            kill(pid)
        with pytest.raises(RepositoryError, match="may belong to a running process"):
            Locks(program(tmp_path)).remove(first)
        Locks(program(tmp_path)).remove(first, second)
        assert locks(tmp_path) == []


@needs_restic
def test_a_zombie_is_waited_for_until_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restic takes a zombie for a running process, and its lock for one in use."""
    with locked(tmp_path) as pid:
        owners = [Process.of(pid)]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not started(pid))
        looked = Seen(pid)
        monkeypatch.setattr(restic_locks, "_is_seen", looked)
        Locks(program(tmp_path)).remove(owners)
        assert looked.times > 2
        assert locks(tmp_path) == []


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


class Standin(ResticProgram):
    """A repository with one lock of this host name; records what is done."""

    holder: int
    age = timedelta()
    host = host_name()
    done: list[str]

    def run(self, *command: str, limit: float | None = None) -> str:
        self.done.append(command[0])
        if command[0] == "cat":
            time = (datetime.now(UTC) - self.age).isoformat()
            return json.dumps({"hostname": self.host, "pid": self.holder, "time": time})
        if command[0] == "list" and "unlock" not in self.done:
            return "f00d" * 16 + "\n"
        return ""


@pytest.mark.parametrize(("minutes", "removed"), [(0, False), (29, False), (31, True)])
def test_a_lock_that_is_not_refreshed_is_stale_by_the_rule_of_restic(
    tmp_path: Path, minutes: int, removed: bool
) -> None:
    found = replaced(tmp_path, Standin)
    found.holder, found.age, found.done = _ended(), timedelta(minutes=minutes), []
    elsewhere = replace(Process.of(found.holder), started="1", pid_namespace="0:1")
    if removed:
        Locks(found).remove([elsewhere])
    else:
        with pytest.raises(RepositoryError, match=r"wait until .* 'volflow leftover clean'"):
            Locks(found).remove([elsewhere])
    assert ("unlock" in found.done) is removed


def test_the_age_of_a_lock_counts_before_its_process(tmp_path: Path) -> None:
    """restic sends no signal then."""
    found = replaced(tmp_path, Standin)
    found.holder, found.age, found.done = os.getpid(), timedelta(minutes=31), []
    Locks(found).remove([Process("h", "b", os.getpid(), "")])
    assert "unlock" in found.done


@pytest.mark.parametrize("pid", [0, -1, 2**40])
def test_what_is_no_number_of_a_process_is_no_restic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pid: int
) -> None:
    monkeypatch.setattr(restic_locks, "_ENDS_WITHIN", 0.2)
    found = replaced(tmp_path, Standin)
    found.holder, found.done = pid, []
    with pytest.raises(RepositoryError, match="an unknown program, not restic"):
        Locks(found).remove([Process("h", "b", pid, "")])
    assert "unlock" not in found.done


class Kept(Standin):
    """A repository with one lock that stays."""

    def run(self, *command: str, limit: float | None = None) -> str:
        return "f00d" * 16 + "\n" if command[0] == "list" else super().run(*command, limit=limit)


def test_the_lock_of_a_zombie_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """restic counts a zombie as a running process, and reports nothing."""
    monkeypatch.setattr(restic_locks, "_ENDS_WITHIN", 0.2)
    found = replaced(tmp_path, Kept)
    found.done = []
    with subprocess.Popen(["true"]) as process:
        owners = [Process.of(process.pid)]
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        found.holder = process.pid
        with pytest.raises(RepositoryError, match=r"Lock f00df00d .* process \d+ .* zombie"):
            Locks(found).remove(owners)
        assert "unlock" in found.done
        found.host, found.done = "another", []
        Locks(found).remove(owners)
        assert "unlock" not in found.done
