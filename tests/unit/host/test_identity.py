"""A process counts as dead only by proof: the same kernel, the same PID namespace, and no process.

The other PID namespaces are real ones, with the host name of this host.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from volflow.host import identity
from volflow.host.identity import Process, boot_id, host_name

ELSEWHERE = "0f0f0f0f-0000-4000-8000-0f0f0f0f0f0f"
# In its own PID namespace, a process has another number there than here.
OTHER_NAMESPACE = ("unshare", "--map-root-user", "--pid", "--fork")


@pytest.fixture
def dead() -> Process:
    """A process of this host that has ended."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        found = Process.of(child.pid)
        child.kill()
    return found


def seen_from(prefix: tuple[str, ...], process: Process) -> str:
    """Whether another process takes a process for dead: ``True`` or ``False``."""
    code = (
        "import sys; from volflow.host.identity import Process; "
        "print(Process.parse(sys.argv[1]).has_ended())"
    )
    command = (*prefix, sys.executable, "-c", code, str(process))
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_process_that_has_ended_here_is_dead(dead: Process) -> None:
    assert dead.has_ended()
    assert seen_from((), dead) == "True"


def test_a_living_process_and_oneself_are_not_dead() -> None:
    assert not Process.current().has_ended()
    assert not Process.of(os.getppid()).has_ended()
    assert seen_from((), Process.current()) == "False"


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    found = Process.of(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert found.has_ended()
    finally:
        child.wait()


def test_another_process_with_the_same_number_is_not_the_one_that_ended() -> None:
    assert replace(Process.current(), started="1").has_ended()


@pytest.mark.parametrize("proc", [("--mount-proc",), ()], ids=["own /proc", "/proc of the host"])
def test_nobody_is_dead_to_a_process_in_another_pid_namespace(
    proc: tuple[str, ...], dead: Process
) -> None:
    there = (*OTHER_NAMESPACE, *proc)
    assert seen_from(there, Process.current()) == "False"
    assert seen_from(there, dead) == "False"


@pytest.mark.parametrize("proc", [("--mount-proc",), ()], ids=["own /proc", "/proc of the host"])
def test_nobody_of_another_pid_namespace_is_dead_here(proc: tuple[str, ...]) -> None:
    code = (
        "from volflow.host.identity import Process; print(Process.current(), flush=True); input()"
    )
    command = (*OTHER_NAMESPACE, *proc, sys.executable, "-c", code)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        there = Process.parse(child.stdout.readline().strip())
        assert there is not None
        assert (there.host, there.boot) == (host_name(), boot_id())
        assert not there.has_ended()
        child.communicate("\n")
    # Even now: its number there says nothing here.
    assert not there.has_ended()


@pytest.mark.parametrize(
    "other",
    [{"machine": "0" * 32}, {"boot": ELSEWHERE}, {"boot": ""}, {"pid_namespace": "4:1"}],
    ids=["another machine", "a cloned host", "no boot id", "another PID namespace"],
)
def test_a_process_that_is_elsewhere_is_never_dead(dead: Process, other: dict[str, str]) -> None:
    assert not replace(dead, **other).has_ended()


def test_a_process_that_this_user_may_not_see_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with a /proc that is mounted with hidepid=2.
    hidden = Process.of(os.getppid())

    def gone(pid: int) -> str:
        return ""

    monkeypatch.setattr(identity, "started", gone)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert not hidden.has_ended()


def test_text_gives_the_same_process_and_ignores_what_follows(dead: Process) -> None:
    for process in (dead, Process.current(), replace(dead, machine="", started="")):
        assert Process.parse(str(process)) == process
        assert Process.parse(f"{process} 0badcafe") == process
    assert len(str(dead).splitlines()) == 1


def test_what_the_first_release_stored_names_a_process_and_proves_nothing(dead: Process) -> None:
    old = Process.parse(f"{dead.host} {dead.boot} {dead.pid} {dead.started} 0badcafe")
    assert old is not None
    assert (old.host, old.pid, old.started) == (dead.host, dead.pid, dead.started)
    assert (old.machine, old.pid_namespace) == ("", "")
    assert not old.has_ended()


def test_when_a_process_was_seen_to_have_ended_is_kept(dead: Process) -> None:
    assert dead.ended is None
    seen = dead.looked_at()
    assert seen.ended is not None
    again = Process.parse(str(seen))
    assert again is not None
    assert again == dead == seen
    assert again.ended == seen.ended == again.looked_at().ended
    assert Process.current().looked_at().ended is None


def test_a_process_lives_from_its_start_to_its_end(dead: Process) -> None:
    now, second = datetime.now(UTC), timedelta(seconds=1)
    ended = replace(dead, ended=now)
    assert not dead.may_have_lived(now - 60 * second)
    # Two times of this host's clock can differ a little.
    for one, moment in ((dead, now), (dead, now + 60 * second), (ended, now + second)):
        assert one.may_have_lived(moment)
    assert not ended.may_have_lived(now + 3 * second)
    for unknown in (replace(ended, boot=ELSEWHERE), replace(ended, started="")):
        assert unknown.may_have_lived(now - 60 * second)
        assert not unknown.may_have_lived(now + 60 * second)


def test_the_first_release_can_read_the_text() -> None:
    host, boot, pid, moment, *_ = str(Process.current()).split(" ")
    assert (host, boot, int(pid)) == (host_name(), boot_id(), os.getpid())
    assert moment == identity.started(os.getpid())


@pytest.mark.parametrize("text", ["", "somebody", "a b c d", "host boot -1 5", "one two three"])
def test_a_text_of_another_form_is_no_process(text: str) -> None:
    assert Process.parse(text) is None
