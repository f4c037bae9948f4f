"""The commands on a page of the documentation, as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROMPT = "# "
_MARK = "the-status-of-the-last-command-is"


@dataclass(frozen=True)
class Printed:
    """A command on a page.

    :ivar section: the heading above it
    """

    section: str
    command: str


def commands(page: Path) -> Iterator[Printed]:
    """The commands after a prompt in the page's code blocks."""
    section, block, before = "", False, ""
    for line in page.read_text().splitlines():
        if re.fullmatch(r"(=+|-+)", line) and before and len(line) >= len(before):
            section = before
        if line.startswith(".. "):
            block = line == ".. code-block:: console"
        elif line and not line.startswith(" "):
            block = False
        elif block and line.strip().startswith(_PROMPT):
            yield Printed(section, line.strip().removeprefix(_PROMPT))
        before = line


class Shell:
    """A shell that runs commands one after the other.

    It has its own mount namespace.

    :param prepare: commands to run first
    """

    def __init__(self, environment: dict[str, str], prepare: str) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash"],
            env={name: v for name, v in environment.items() if not name.startswith("OS_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            cwd="/",
        )
        self.type(prepare)

    def type(self, command: str) -> str:
        """Run a command, which must succeed, and return its output."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Commands have no input: nobody answers questions.
        self._process.stdin.write(f"{{ {command}\n}} </dev/null; echo {_MARK} $?\n")
        self._process.stdin.flush()
        told: list[str] = []
        for line in self._process.stdout:
            before, mark, status = line.partition(_MARK)
            told.append(before)
            if mark:
                text = "".join(told)
                assert status.strip() == "0", f"{command}: exit status {status}{text}"
                return text
        raise AssertionError(f"{command}: the shell has ended: {''.join(told)}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()


def path_with(program: str) -> str:
    """The search path with the directory of a program first."""
    return os.pathsep.join([str(Path(program).parent), os.environ.get("PATH", os.defpath)])
