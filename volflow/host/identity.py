"""Identifies this host, its boot, and the processes on it."""

from __future__ import annotations

import socket
from pathlib import Path


def host_name() -> str:
    return socket.gethostname()


def boot_id() -> str:
    """The kernel's id of this boot (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def started(pid: int) -> str:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).

    :returns: empty if the process does not exist or has ended
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name in parentheses, which can contain anything.
    fields = text.rpartition(")")[2].split()
    # A zombie has ended; its parent has not noticed yet.
    return "" if fields[0] == "Z" else fields[19]
