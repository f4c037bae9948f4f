"""Every program ends with volflow, within its limit, and when volflow is asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import namespaces
from tests.support.cloud import run
from tests.support.waiting import until
from volflow.errors import HostError, NoProgressError, StoppedError
from volflow.host.privilege import Limits, Privilege
from volflow.host.program import Limit, Program, heed_stop, undisturbed

# What sudo does: it runs the command as a child, and does not end it when it is killed.
LIKE_SUDO = f"""#!{sys.executable}
import signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGINT, lambda number, frame: child.send_signal(number))
sys.exit(child.wait())
"""


@pytest.fixture(autouse=True)
def heeding() -> None:
    """Earlier tests of this thread may have reverted a step, which no stop interrupts."""
    heed_stop(True)


def privileged(
    *, look: float = 60, work: float = 60, stopping: threading.Event | None = None
) -> Privilege:
    return Privilege(limits=Limits(look, work), stopping=stopping)


def ended(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def process_id(file: Path) -> int:
    """The process id that a program has written into a file."""
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


# A process with programs that runs until it is killed.
HOLDING = """
import os, sys, threading
from volflow.host.privilege import Privilege
if sys.argv[1] != "root":
    os.geteuid = lambda: 1000
privilege = Privilege(sys.argv[1])
def hold(gentle, script):
    with privilege.start("sh", "-c", script, gentle=gentle) as program:
        program.wait()
threads = [threading.Thread(target=hold, args=(bool(n % 2), script))
           for n, script in enumerate(sys.argv[2:])]
for thread in threads:
    thread.start()
"""


@pytest.mark.parametrize("helper", ["root", "sudo"])
def test_programs_end_with_a_killed_volflow(tmp_path: Path, helper: str) -> None:
    """Also where another process, as sudo, is between volflow and the program."""
    helps = tmp_path / "helper"
    helps.write_text(LIKE_SUDO)
    helps.chmod(0o755)
    plain, gentle, deaf = (tmp_path / name for name in ("plain", "gentle", "deaf"))
    interrupted = tmp_path / "interrupted"
    scripts = (
        f"echo $$ >{plain}; sleep 1000",
        f"trap 'touch {interrupted}; exit' INT; echo $$ >{gentle}; while :; do sleep 0.1; done",
        f"trap '' INT; echo $$ >{deaf}; sleep 1000",
    )
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(helps) if helper == "sudo" else "root", *scripts]
    ) as process:
        try:
            pids = [process_id(file) for file in (plain, gentle, deaf)]
        finally:
            process.kill()
    until(lambda: all(map(ended, pids)))
    # restic can remove its lock.
    assert interrupted.exists()


def test_a_program_without_progress_is_ended(tmp_path: Path) -> None:
    says = r"sh was ended after 1 s without progress: .* raise work_limit in \[host\]"
    file = tmp_path / "pid"
    with pytest.raises(NoProgressError, match=says) as found:
        privileged(work=1).run("sh", "-c", f"echo $$ >{file}; echo waiting >&2; sleep 1000")
    assert found.value.said == "waiting\n"
    until(lambda: ended(process_id(file)))


@pytest.mark.parametrize(
    "script",
    [
        "for n in 1 2 3 4 5 6; do echo $n; sleep 0.4; done",
        "timeout 2.5 sh -c 'while :; do :; done'",
    ],
    ids=["output", "processor"],
)
def test_a_program_that_makes_progress_may_take_longer(script: str) -> None:
    began = time.monotonic()
    privileged(work=1).attempt("sh", "-c", script)
    assert time.monotonic() - began > 2


def test_a_limit_can_be_for_all_the_time() -> None:
    limit = Limit(0.5, total=True)
    busy = ("sh", "-c", "while :; do :; done")
    with Program("busy", busy, environment=os.environ, limit=limit) as program:  # noqa: SIM117
        with pytest.raises(NoProgressError, match=r"busy was ended after 0\.5 s"):
            program.wait()


def later(act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(0.3, act)
    timer.start()
    return timer


@pytest.mark.parametrize("way", ["run", "records"])
def test_a_stop_ends_what_is_waited_for(tmp_path: Path, way: str) -> None:
    stopping, file = threading.Event(), tmp_path / "pid"
    privilege = privileged(stopping=stopping)
    later(stopping.set)
    began = time.monotonic()
    command = ("sh", "-c", f"echo $$ >{file}; sleep 1000")
    wait = privilege.run if way == "run" else lambda *command: list(privilege.records(*command))
    with pytest.raises(StoppedError, match="sh was stopped"):
        wait(*command)
    assert time.monotonic() - began < 30
    until(lambda: ended(process_id(file)))


def test_what_undoes_something_is_not_stopped() -> None:
    stopping = threading.Event()
    stopping.set()
    privilege = privileged(stopping=stopping)
    with undisturbed():
        assert privilege.run("sh", "-c", "sleep 0.5; echo done") == "done\n"
    with pytest.raises(StoppedError):
        privilege.run("sleep", "1000")


def test_a_gentle_end_is_a_signal_that_can_be_handled(tmp_path: Path) -> None:
    ready, mark = tmp_path / "ready", tmp_path / "mark"
    script = f"trap 'touch {mark}; exit' INT; touch {ready}; while :; do sleep 0.1; done"
    with privileged().start("sh", "-c", script, gentle=True):
        until(ready.exists)
    assert mark.exists()


def test_a_program_that_hears_nothing_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' INT TERM; touch {ready}; sleep 1000"
    with privileged().start("sh", "-c", script, gentle=True) as program:
        until(ready.exists)
    assert program.ended


def test_a_million_lines_of_errors_do_not_fill_the_memory() -> None:
    script = "yes 'this file cannot be read' | head -n 1000000 >&2; exit 3"
    with privileged().start("sh", "-c", script) as program:
        assert program.wait() == 3
        lines, left_out = program.errors()
        assert len(program.said()) < 100_000
    assert len(lines) < 60_000
    assert len(lines) + left_out == 1_000_000


def test_the_first_and_the_last_errors_are_kept() -> None:
    with privileged().start("sh", "-c", "seq 100 >&2") as program:
        program.wait()
        assert program.errors() == ([str(n) for n in range(1, 101)], 0)
        lines, left_out = program.errors(most=10)
    assert lines == ["1", "2", "3", "4", "5", "96", "97", "98", "99", "100"]
    assert left_out == 90


def test_the_output_comes_record_by_record() -> None:
    script = r"printf 'one\0'; sleep 0.3; printf 'two\0\0th'; sleep 0.3; printf 'ree'"
    assert list(privileged().records("sh", "-c", script)) == [b"one", b"two", b"", b"three"]


def test_a_child_that_keeps_the_output_open_is_not_waited_for() -> None:
    began = time.monotonic()
    script = "echo here; sleep 300 &"
    with privileged().start("sh", "-c", script) as program:
        assert list(program.records(b"\n")) == [b"here"]
        assert program.wait() == 0
        assert time.monotonic() - began < 60
        os.killpg(program.pid, signal.SIGKILL)


def test_a_failure_names_the_program_and_quotes_it() -> None:
    with pytest.raises(HostError, match=r"^'sh' failed with exit status 7: alas$"):
        privileged().run("sh", "-c", "echo alas >&2; exit 7")


def test_a_missing_program_is_reported() -> None:
    with pytest.raises(HostError, match="'no-such-program' is not installed; 'volflow doctor'"):
        privileged().run("no-such-program")


def test_a_program_reads_what_it_is_given() -> None:
    text = "line\n" * 100_000
    assert privileged().run("cat", stdin=text) == text


def watches(pid: int) -> list[int]:
    """The processes that watch over the programs of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [int(child) for child in text]
    return [one for one in found if b"VOLFLOW_BOND" in Path(f"/proc/{one}/cmdline").read_bytes()]


def test_the_watch_ends_with_what_it_watches_for() -> None:
    """Also if a child of a fork, as the daemon of oslo.privsep, lives on."""
    before = set(watches(os.getpid()))
    closed, forgotten = Privilege(), Privilege()
    for privilege in (closed, forgotten):
        assert privilege.run("echo") == "\n"
    # The kernel's list can miss one while others end.
    started: set[int] = set()
    until(lambda: started.update(set(watches(os.getpid())) - before) or len(started) == 2)
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.read(reading, 1)
        os._exit(0)
    try:
        closed.close()
        del privilege, forgotten
        until(lambda: all(map(ended, started)))
    finally:
        os.write(writing, b"x")
        os.waitpid(child, 0)
        os.close(reading)
        os.close(writing)


def test_what_a_program_says_is_kept_though_the_temporary_directory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := namespaces.missing():
        pytest.skip(why)
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
    try:
        (tmp_path / "filler").write_bytes(bytes(64 * 1024))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        done = Privilege().attempt("sh", "-c", "seq 20000; seq 20000 >&2; exit 3")
    finally:
        run("umount", str(tmp_path))
    assert done.returncode == 3
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 20001))
    assert done.stderr.endswith("\n20000\n")
