"""The program that copies images: killed at any point, told to stop, and without space."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.native_images import Place, ignoring_hangup, sample
from tests.support.waiting import until

pytestmark = pytest.mark.heavy

# Runs the program, which kills itself at a certain change of a file's name or its durability.
KILLED = """
import os, signal, sys
left = int(sys.argv[1])
def counted(act):
    def counting(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*args, **kwargs)
    return counting
for name in ("rename", "fsync", "unlink", "writev"):
    setattr(os, name, counted(getattr(os, name)))
from volflow.movers.native import program
sys.exit(program.main())
"""
PROGRAM = (sys.executable, "-I", "-B", "-m", "volflow.movers.native.program")
# Runs the program, which reads a file as it reads a device.
SLOW = """
import sys
from volflow.movers.native import device, program
device.Device.is_hole = lambda *_: False
sys.exit(program.main())
"""
# Fails at the file with this number.
FULL = """
import errno, os, sys
left = int(sys.argv[1])
act = os.writev
def full(*args):
    global left
    left -= 1
    if left <= 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return act(*args)
os.writev = full
from volflow.movers.native import program
sys.exit(program.main())
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def do(job: dict[str, Any], *command: str) -> tuple[int, list[Any]]:
    """Run the program, or another command; returns its status and output."""
    done = subprocess.run(
        command or PROGRAM, input=json.dumps(job).encode(), capture_output=True, timeout=120
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_repository_stays_sound_wherever_it_is_killed(place: Place) -> None:
    content = sample(40, 2**20)
    image = place.image(content)
    place.save(image)
    image = place.image(content[: len(content) // 2] + os.urandom(100_000))
    content = Path(image["device"]).read_bytes()
    snapshot = place.snapshot()
    for number in range(1, 100):
        if not (place.repository / "snapshots" / snapshot).exists():
            snapshot = place.snapshot()
        job = place.job("save", snapshot, image, threads=1)
        status, said = do(job, sys.executable, "-c", KILLED, str(number))
        place.restic("unlock")
        place.check()
        if status == 0:
            assert place.dump(said[-1]["summary"]["id"], image) == content
            break
        assert status == -signal.SIGKILL
    assert number > 12


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_full_repository_is_told_by_its_error(place: Place, number: int) -> None:
    job = place.job("save", place.snapshot(), place.image(sample(41, 2**20)), threads=1)
    status, said = do(job, sys.executable, "-c", FULL, str(number))
    assert status == 1
    assert said[-1]["error"]["errno"] == 28
    assert not list(place.repository.glob("**/*-tmp-*"))
    assert not list((place.repository / "locks").iterdir())
    place.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_without_its_lock(place: Place, number: signal.Signals) -> None:
    image = place.image(b"")
    with open(image["device"], "wb") as file:
        file.truncate(2**40)
    job = place.job("save", place.snapshot(), image | {"size": 2**40})
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SLOW], **pipes) as process:
        assert process.stdin
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        until(lambda: any((place.repository / "locks").iterdir()))
        # As 'restic unlock' does, to see whether the process is there.
        process.send_signal(signal.SIGHUP)
        process.send_signal(number)
        assert process.wait(30) == 130
    assert not list((place.repository / "locks").iterdir())
    place.check()


def test_restic_and_volflow_understand_its_lock(place: Place) -> None:
    with ignoring_hangup(), place.store().lock().held():
        (name,) = place.restic("list", "locks", "--no-lock").decode().split()
        lock = json.loads(place.restic("cat", "lock", name, "--no-lock"))
        place.restic("unlock")
        assert place.restic("list", "locks", "--no-lock").decode().split() == [name]
        with pytest.raises(AssertionError, match="already locked by PID"):
            place.restic("prune")
    assert (lock["pid"], lock["exclusive"]) == (os.getpid(), False)
    assert place.restic("list", "locks", "--no-lock") == b""


def test_another_key_is_refused(place: Place) -> None:
    job = place.job("save", place.snapshot(), place.image(b"data"))
    job["key"] = {**job["key"], "encrypt": job["key"]["mac"]["k"]}
    status, said = do(job)
    assert (status, said[-1]["error"]["kind"]) == (1, "RepositoryError")


def test_a_sparse_volume_of_a_tebibyte_needs_little_memory(place: Place) -> None:
    image = place.image(b"")
    with open(image["device"], "wb") as file:
        file.truncate(2**40)
        for offset in (0, 2**39 + 12345, 2**40 - 4):
            file.seek(offset)
            file.write(b"data")
    image |= {"size": 2**40}
    status, said, peak = measured(place.job("save", place.snapshot(), image))
    assert status == 0, said
    assert peak < 256 * 2**20
    target = place.directory / "target"
    with open(target, "wb") as file:
        file.truncate(2**40)
    job = place.job(
        "restore", said[-1]["summary"]["id"], image | {"device": str(target)}, blank=True
    )
    status, said, peak = measured(job)
    assert status == 0, said
    assert peak < 256 * 2**20
    with open(target, "rb") as file:
        for offset in (0, 2**39 + 12345, 2**40 - 4):
            file.seek(offset)
            assert file.read(4) == b"data"
    assert target.stat().st_blocks * 512 < 64 * 2**20


def measured(job: dict[str, Any]) -> tuple[int, list[Any], int]:
    """Run the program; returns its status, output, and bytes of memory at most."""
    measure = (
        "import re, sys\n"
        "from volflow.movers.native import program\n"
        "status = program.main()\n"
        # Not getrusage(2): its figure has that of the process that was forked, too.
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])\n"
        "sys.exit(status)\n"
    )
    status, said = do(job, sys.executable, "-c", measure)
    return status, said[:-1], said[-1] * 1024
