"""Runs programs as root: directly if this process is root, else through sudo.

os-brick does its own privileged work by oslo.privsep. The programs here stream their output for as
long as a copy lasts, which does not fit the call and return of privsep.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from volflow.errors import HostError
from volflow.host import program
from volflow.host.program import Bond, Ended, Holder, Limit, Program

LOG = logging.getLogger(__name__)

# The PATH of many users lacks the directories of mkfs, blkid and mount.
_PATH = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"]
)
# Programs that only look at something, or take moments. All others may take long.
_LOOKS = {
    *(
        "blkid",
        "blockdev",
        "chmod",
        "df",
        "dumpe2fs",
        "install",
        "mkdir",
        "mount",
        "restic",
        "sfdisk",
        "stat",
    ),
    *("test", "umount", "unshare", "wipefs", "xfs_db"),
}
# Characters of an output that are quoted.
_SAID = 1000
# Seconds for a helper to pass on a signal.
_SIGNAL = 5.0


def find_program(name: str) -> str | None:
    """The path of a program. The administrator's directories are searched too."""
    return shutil.which(name, path=_PATH)


@dataclass(frozen=True)
class Limits:
    """How long programs on this host may make no progress, in seconds.

    :ivar look: a program that only looks at a device or a file system, mounts it or unmounts it
    :ivar work: a program that makes a file system, writes everything to a device, searches a tree
    """

    look: float = 120.0
    work: float = 1800.0

    def of(self, name: str) -> Limit:
        """The limit of a program."""
        option, seconds = ("look", self.look) if name in _LOOKS else ("work", self.work)
        return Limit(
            seconds,
            "check whether the volume's storage answers and what the kernel log says, or raise "
            f"{option}_limit in [host]",
        )


class Privilege:
    """The right to run programs as root.

    :param helper: the command to put before others if this process is not root
    :param limits: how long a program may make no progress
    :param stopping: set when volflow is asked to stop: it ends the programs that are waited for
    """

    def __init__(
        self,
        helper: str = "sudo -n",
        limits: Limits | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._helper = [] if os.geteuid() == 0 else shlex.split(helper)
        self._limits = limits or Limits()
        self._stopping = stopping or threading.Event()
        self._bond = Bond(self._helper, self.environment)

    def argv(self, *command: str, keep: Sequence[str] = ()) -> list[str]:
        """The command line that runs this command as root.

        :param keep: environment variables that the command needs; sudo drops all others
        """
        if self._helper and keep:
            return [*self._helper, f"--preserve-env={','.join(keep)}", *command]
        return [*self._helper, *command]

    def start(
        self,
        *command: str,
        enter: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        gentle: bool = False,
        limit: Limit | None = None,
        stdin: str | None = None,
        stdout: IO[bytes] | None = None,
    ) -> Program:
        """Start the command as root. It ends with the ``with`` block, or with volflow.

        :param enter: a command line that enters a namespace and then becomes the command; whoever
            holds the namespace ends the command
        :param environment: more variables for it
        :param gentle: it receives SIGINT, and SIGKILL only if it does not end then
        :param limit: how long it may make no progress while it is waited for; for ever unless given
        :param stdin: its standard input
        :param stdout: a file for its output; a pipe unless given
        :raises HostError: the program is missing, or could not be started
        """
        if find_program(command[0]) is None:
            raise HostError(
                f"'{command[0]}' is not installed; 'volflow doctor' lists what is missing."
            )
        # sudo does not end with volflow, but this ends with sudo.
        ends = signal.SIGINT if gentle and not self._helper and not enter else signal.SIGKILL
        argv = [*enter, *program.bound(list(map(str, command)), ends)]
        return Program(
            command[0],
            self.argv(*argv, keep=sorted(environment or {})),
            environment=self.environment(environment),
            limit=limit,
            stopping=self._stopping,
            stdin=(stdin or "").encode("utf-8", errors="surrogateescape"),
            stdout=stdout,
            gentle=gentle,
            send=self._send if self._helper else None,
            bond=self._bond,
        )

    def close(self) -> None:
        """End what watches over the programs. It begins again with the next program."""
        self._bond.close()

    def hold(self, *command: str) -> Holder:
        """Start a command as root that lives until its standard input is closed.

        :raises HostError: the program is missing, or could not be started
        """
        return Holder(self.argv(*command), self.environment())

    def run(self, *command: str, stdin: str | None = None, enter: Sequence[str] = ()) -> str:
        """Run the command as root to its end; returns its standard output.

        :param enter: a command line that enters a namespace and then becomes the command
        :raises HostError: the program is missing or failed; quotes its standard error, or the last
            line of its output if that is empty
        :raises NoProgressError: it made no progress for too long
        :raises StoppedError: volflow is asked to stop
        """
        done = self.attempt(*command, stdin=stdin, enter=enter)
        if done.returncode:
            # Some programs, such as mkfs.ext4, print some of their errors on the standard output.
            said = done.stderr.strip() or done.stdout.strip().rpartition("\n")[2][-_SAID:]
            raise self._failed(command, done.returncode, said)
        return done.stdout

    def attempt(self, *command: str, stdin: str | None = None, enter: Sequence[str] = ()) -> Ended:
        """Run the command as root to its end, whatever its exit status.

        :param enter: a command line that enters a namespace and then becomes the command
        :raises HostError: the program is missing
        :raises NoProgressError: it made no progress for too long
        :raises StoppedError: volflow is asked to stop
        """
        limit = self._limits.of(os.path.basename(command[0]))
        return program.run(
            lambda out: self.start(*command, stdin=stdin, stdout=out, enter=enter, limit=limit)
        )

    def records(self, *command: str, enter: Sequence[str] = ()) -> Iterator[bytes]:
        """Run the command as root to its end, and yield its output record by record.

        :returns: each record without the zero byte that ends it
        :raises HostError: the program failed; quotes its standard error
        """
        limit = self._limits.of(os.path.basename(command[0]))
        with self.start(*command, enter=enter, limit=limit) as started:
            yield from started.records()
            if status := started.wait():
                raise self._failed(command, status, started.said())

    @staticmethod
    def _failed(command: Sequence[str], status: int, said: str) -> HostError:
        LOG.debug("Failed with exit status %d: %s", status, shlex.join(map(str, command)))
        name = os.path.basename(command[0])
        return HostError(
            f"'{name}' failed with exit status {status}: {said.strip() or 'it said nothing'}"
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

    def _send(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a program that runs as root."""
        # sudo passes on other signals than SIGKILL, which must reach the program itself too. The
        # shell's own kill: a program of that name is not everywhere.
        whom = f"-- -{pid}" if number is signal.SIGKILL else str(pid)
        with (
            program.undisturbed(),
            Program(
                "kill",
                self.argv("sh", "-c", f"kill -s {number.value} {whom}"),
                environment=self.environment(),
                limit=Limit(_SIGNAL, total=True),
            ) as sent,
        ):
            sent.wait()
