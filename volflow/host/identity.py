"""Identifies this host, its boot, and the processes on it."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from volflow.times import moment_of, utc

# Where the id of the machine is, and where it was before systemd (machine-id(5)).
_MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")
# By how much two times of this host's clock may differ although they mean the same moment.
_TOLERANCE = timedelta(seconds=2)


def host_name() -> str:
    return socket.gethostname()


@cache
def boot_id() -> str:
    """The kernel's id of this boot (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def machine_id() -> str:
    """The id of this installation (machine-id(5)); a cloned host can have the same one.

    :returns: empty if this host has none
    """
    for name in _MACHINE_IDS:
        try:
            found = Path(name).read_text(encoding="ascii", errors="replace").split()
        except OSError:
            continue
        if found:
            return found[0]
    return ""


def pid_namespace() -> str:
    """The PID namespace of this process, by the device and inode of its file (namespaces(7))."""
    file = os.stat("/proc/self/ns/pid")
    return f"{file.st_dev}:{file.st_ino}"


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).

    :returns: empty if the process does not exist or has ended
    """
    return _started(str(pid))


def _started(process: str) -> str:
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name in parentheses, which can contain anything.
    fields = text.rpartition(")")[2].split()
    # A zombie has ended; its parent has not noticed yet.
    return "" if fields[0] == "Z" else fields[19]


@dataclass(frozen=True)
class Process:
    """One process among those of all hosts, boots and containers.

    :ivar host: the name of its host, for people; it proves nothing
    :ivar machine: the id of its machine; empty if it is not known
    :ivar boot: the id of its boot
    :ivar pid_namespace: the PID namespace that ``pid`` belongs to; empty if it is not known
    :ivar started: when it started, in clock ticks since boot; empty if it is not known
    :ivar ended: when it was seen that it had ended; None if that is not known. It is no part of
        what tells two processes apart
    """

    host: str
    boot: str
    pid: int
    started: str
    machine: str = ""
    pid_namespace: str = ""
    ended: datetime | None = field(default=None, compare=False)

    @classmethod
    def current(cls) -> Process:
        """This process."""
        # Its own number, in a /proc of another PID namespace, can be that of another process.
        return cls._here(os.getpid(), _started("self"))

    @classmethod
    def of(cls, pid: int) -> Process:
        """A process of this PID namespace."""
        return cls._here(pid, started(pid))

    @classmethod
    def _here(cls, pid: int, moment: str) -> Process:
        return cls(host_name(), boot_id(), pid, moment, machine_id(), pid_namespace())

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """Read what ``str()`` has written, or what release 0.1.0 has stored.

        0.1.0 knew neither the machine nor the PID namespace. Words that follow are ignored.

        :returns: None if the text has another form
        """
        words = ["" if word == "-" else word for word in text.split(" ")]
        if len(words) < 4 or not (words[2].isascii() and words[2].isdecimal()):
            return None
        host, boot, pid, moment, *more = words
        # The form of a PID namespace tells it from what 0.1.0 has written in this place.
        if len(more) < 2 or ":" not in more[1]:
            return cls(host, boot, int(pid), moment)
        ended = moment_of(more[2]) if len(more) > 2 else None
        return cls(host, boot, int(pid), moment, more[0], more[1], ended)

    def __str__(self) -> str:
        """One line of text: its fields, separated by spaces."""
        host = "_".join(self.host.split())
        words = (host, self.boot, str(self.pid), self.started, self.machine, self.pid_namespace)
        ended = [utc(self.ended)] if self.ended else []
        return " ".join([*(word or "-" for word in words), *ended])

    def has_ended(self) -> bool:
        """Whether it is proved that this process does not exist any more.

        Only the same kernel can prove it: the machine, the boot and the PID namespace must be
        those of the caller. A host name proves nothing, because containers and cloned hosts share
        it. Nor does another boot: a cloned host has the id of the machine that it was cloned from.
        """
        if not self.boot or self.boot != boot_id():
            return False
        if (self.machine, self.pid_namespace) != (machine_id(), pid_namespace()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        # Another process can have the number by now. A /proc of another PID namespace cannot tell.
        if not self.started or os.readlink("/proc/self") != str(os.getpid()):
            return False
        try:
            # This kernel may hide the processes of other users (proc(5), hidepid).
            return Path(f"/proc/{self.pid}").exists() and started(self.pid) != self.started
        except OSError:
            return False

    def looked_at(self) -> Process:
        """This process, with the present as the time of its end if it is seen to have ended."""
        if self.ended is None and self.has_ended():
            return replace(self, ended=datetime.now(UTC))
        return self

    def may_have_lived(self, moment: datetime) -> bool:
        """Whether this process may have existed at a time of this host's clock."""
        if self.ended is not None and moment > self.ended + _TOLERANCE:
            return False
        if self.boot != boot_id() or not self.started.isdecimal():
            return True
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        began = booted + int(self.started) / os.sysconf("SC_CLK_TCK")
        return moment.timestamp() >= began - _TOLERANCE.total_seconds()

    def runs(self) -> bool:
        """Whether this process exists here, and has not ended."""
        return self == self.of(self.pid) and bool(self.started)
