"""Measures a program: time, processor time with its children, and its own memory."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a program.

    :ivar wall: seconds from start to end
    :ivar cpu: processor seconds, user and system, of the program and of the children that it has
        waited for; not of servers that it uses
    :ivar memory: peak memory of the program itself in bytes, without its children
    """

    wall: float
    cpu: float
    memory: int


class ProgramError(Exception):
    """A measured program failed."""


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a program to its end.

    :raises ProgramError: the program failed; quotes its last output
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/",
        encoding="utf-8",
        errors="replace",
    )
    assert process.stderr is not None
    said: list[str] = []
    stderr, peak = process.stderr, _Peak(process.pid)
    drain = threading.Thread(target=lambda: said.extend(stderr))
    drain.start()
    peak.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    # Popen must not wait for a process that is gone.
    process.returncode = os.waitstatus_to_exitcode(status)
    peak.stop()
    drain.join()
    stderr.close()
    if process.returncode:
        last = "".join(said[-20:])
        raise ProgramError(f"{' '.join(command)}: exit status {process.returncode}\n{last}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak.bytes)


class _Peak(threading.Thread):
    """Reads the peak memory of a process until it ends: rusage would include its children.

    The peak never falls, so the last reading is the peak, except for growth in the last 50 ms.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        while not self._over.wait(0.05):
            try:
                found = re.search(r"VmHWM:\s+(\d+) kB", self._status.read_text())
            except (FileNotFoundError, ProcessLookupError):
                return
            if found:
                self.bytes = int(found[1]) * 1024

    def stop(self) -> None:
        self._over.set()
        self.join()
