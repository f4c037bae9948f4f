"""The processes that end with the mount namespace of a volume."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.waiting import until
from volflow.host.namespace import _HOLDER, MountNamespace
from volflow.host.privilege import Privilege

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")


def running(mark: str) -> list[int]:
    """The processes with this text in their command line."""
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
    """Only the namespace's holder can find such a process, also with sudo."""
    namespace = MountNamespace(Privilege(), tmp_path)
    seconds = f"30{os.getpid()}"
    with subprocess.Popen(["sleep", f"{seconds}1"]) as outside:
        try:
            namespace.run("sh", "-c", f"setsid sleep {seconds} >/dev/null 2>&1 &")
            # The shell does not wait until its child has become the program.
            until(lambda: bool(running(seconds)))
            namespace.close()
            namespace.close()
            assert running(seconds) == []
            assert running(f"{seconds}1") == [outside.pid]
        finally:
            outside.kill()


def test_it_is_never_the_namespace_of_the_host() -> None:
    """In the host's namespace, the holder would end the host's processes."""
    with subprocess.Popen(
        ["sh", "-c", _HOLDER], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            # Its standard input stays open: it ends at once, without killing anything.
            assert process.wait(60) == 1
        finally:
            process.kill()
