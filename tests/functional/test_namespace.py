"""The mount namespace of a volume: what ends with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from volflow.host.namespace import _HOLDER, MountNamespace
from volflow.host.privilege import Privilege

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")


def running(mark: str) -> list[int]:
    """The processes with this on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if mark.encode() in command.split(b"\0"):
                found.append(int(entry.name))
    return found


def test_closing_a_namespace_ends_detached_processes(tmp_path: Path) -> None:
    """Nobody but the namespace's own holder knows of that: so it is under sudo, too."""
    namespace = MountNamespace(Privilege(), tmp_path)
    seconds = f"30{os.getpid()}"
    outside = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", f"{seconds}1")
    try:
        namespace.run("sh", "-c", f"setsid sleep {seconds} >/dev/null 2>&1 &")
        assert running(seconds)
        namespace.close()
        namespace.close()
        assert running(seconds) == []
        assert running(f"{seconds}1") == [outside]
    finally:
        os.kill(outside, 9)
        os.waitpid(outside, 0)


def test_it_is_never_the_namespace_of_the_host() -> None:
    """What holds it would end the host's processes."""
    with subprocess.Popen(
        ["sh", "-c", _HOLDER], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            # Its standard input stays open: it waits for nothing, and so kills nothing.
            assert process.wait(60) == 1
        finally:
            process.kill()
