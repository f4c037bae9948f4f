"""The lab's processes, identified by id, start time and boot, never by name."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TOKEN_VARIABLE = "VOLFLOW_LAB_TOKEN"
CINDER = "lab.server"
KEYSTONE = "lab.keystone"
MODULES = (CINDER, KEYSTONE)


@dataclass(frozen=True)
class Process:
    """One process, never another one that later got the same id."""

    pid: int
    start_time: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now; `ProcessLookupError` if it does not exist."""
        return cls(pid, _start_time(pid), _boot_id())

    @classmethod
    def read(cls, file: Path) -> Process | None:
        """The process in a pid file; None without a file, or with an incomplete one."""
        try:
            return cls(**json.loads(file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Write a pid file atomically."""
        fresh = file.with_name(f".{file.name}.new")
        fresh.write_text(json.dumps(asdict(self)) + "\n")
        os.replace(fresh, file)

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not run."""
        try:
            return self == Process.of(self.pid)
        except ProcessLookupError:
            return False

    def end(self, patience: float) -> bool:
        """Ask it to end, and kill it after ``patience`` seconds; true if it ended by itself."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            # From here on the handle identifies one process: if it is ours now, it stays ours.
            if not self.alive:
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGTERM)
            if self._wait(handle, patience):
                return True
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            self._wait(handle, 10.0)
            return False
        finally:
            os.close(handle)

    def _wait(self, handle: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([handle], [], [], max(0.0, min(left, 0.5)))
            if ready:
                # A child of ours would stay a zombie until its exit status is read.
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(self.pid, os.WNOHANG)
                return True
            if left <= 0:
                return False


def arguments(module: str, directory: Path, descriptor: int) -> list[str]:
    """The command line of a server process, by which `of_lab` finds it."""
    return [sys.executable, "-m", module, str(directory), str(descriptor)]


def of_lab(directory: Path, token: str | None) -> list[Process]:
    """Every process of the lab in this directory, and of no other lab.

    The environment of each has the token. The command line of a server has the directory,
    in case the record with the token is lost.
    """
    environment = f"{TOKEN_VARIABLE}={token}".encode() if token else None
    commands = [
        [os.fsencode(word) for word in arguments(module, directory, 0)[1:4]] for module in MODULES
    ]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if (
                environment in (entry / "environ").read_bytes().split(b"\0")
                or (entry / "cmdline").read_bytes().split(b"\0")[1:4] in commands
            ):
                found.append(Process.of(int(entry.name)))
        except OSError:
            continue  # ended while we looked, or a kernel thread
    return found


def _start_time(pid: int) -> int:
    """When a process began, in clock ticks since the machine started."""
    try:
        # The name of the program is in brackets and may contain anything, brackets too.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
