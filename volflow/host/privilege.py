"""Runs programs as root: directly if this process is root, else through sudo.

os-brick does its own privileged work by oslo.privsep. The programs here stream their output for as
long as a copy lasts, which does not fit the call and return of privsep.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from tempfile import TemporaryFile
from typing import Any

from volflow.errors import HostError

# The PATH of many users lacks the directories of mkfs, blkid and mount.
_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"]
)
# Bytes to read at a time.
_CHUNK = 64 * 1024


def find_program(name: str) -> str | None:
    """The path of a program. The administrator's directories are searched too."""
    return shutil.which(name, path=_PATH)


class Privilege:
    """The right to run programs as root.

    :param helper: the command to put before others if this process is not root
    """

    def __init__(self, helper: str = "sudo -n") -> None:
        self._helper = [] if os.geteuid() == 0 else shlex.split(helper)

    def argv(self, *command: str, keep: Sequence[str] = ()) -> list[str]:
        """The command line that runs this command as root.

        :param keep: environment variables that the command needs; sudo drops all others
        """
        if self._helper and keep:
            return [*self._helper, f"--preserve-env={','.join(keep)}", *command]
        return [*self._helper, *command]

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run the command as root to its end; returns its standard output.

        :raises HostError: the program is missing or failed; quotes its standard error
        """
        done = self.attempt(*command, stdin=stdin)
        if done.returncode:
            raise self._failed(command, done.returncode, done.stderr)
        return done.stdout

    def attempt(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command as root to its end, whatever its exit status.

        :raises HostError: the program is missing
        """
        try:
            return subprocess.run(
                self.argv(*command),
                input=stdin if stdin is not None else "",
                capture_output=True,
                encoding="utf-8",
                errors="surrogateescape",
                env=self.environment(),
                start_new_session=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise HostError(
                f"'{error.filename}' is not installed; 'volflow doctor' lists what is missing."
            ) from error

    def records(self, *command: str) -> Iterator[bytes]:
        """Run the command as root to its end, and yield its output record by record.

        :returns: each record without the zero byte that ends it
        :raises HostError: the program failed; quotes its standard error
        """
        with (
            TemporaryFile() as said,
            subprocess.Popen(
                self.argv(*command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                env=self.environment(),
                start_new_session=True,
            ) as process,
        ):
            assert process.stdout is not None
            rest = b""
            while chunk := process.stdout.read(_CHUNK):
                *records, rest = (rest + chunk).split(b"\0")
                yield from records
            if process.wait():
                said.seek(0)
                raise self._failed(command, process.returncode, os.fsdecode(said.read()))

    @staticmethod
    def _failed(command: Sequence[str], status: int, said: str) -> HostError:
        return HostError(
            f"'{shlex.join(command)}' failed with exit status {status}: "
            f"{said.strip() or 'it said nothing'}"
        )

    @staticmethod
    def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment for programs: that of this process, in English, with the full PATH."""
        return {**os.environ, "PATH": _PATH, "LC_ALL": "C.UTF-8", **(extra or {})}

    def check(self) -> None:
        """Make sure that this process may attach and mount as root.

        :raises HostError: it may not
        """
        done = self.attempt("unshare", "--mount", "true")
        if done.returncode:
            who = "root" if not self._helper else f"this user through '{shlex.join(self._helper)}'"
            raise HostError(
                "Not enough privilege to attach and mount volumes: run volflow as root, or allow "
                f"the user that runs it to use sudo without a password. As {who}, unshare said: "
                f"{done.stderr.strip()}"
            )

    def signal(self, process: subprocess.Popen[Any], number: signal.Signals) -> None:
        """Send a signal to a program that :meth:`argv` started, if it still runs."""
        if not self._helper:
            process.send_signal(number)
        elif process.poll() is None:
            # The program is root's, and so is sudo, which passes the signal on. The shell's own
            # kill: a program of that name is not everywhere.
            self.attempt("sh", "-c", f"kill -s {number.value} {process.pid}")
