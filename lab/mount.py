"""Mounts, in this process's mount namespace and in all others.

A program in a mount namespace of its own has a copy of every mount. Such a copy
keeps a file system busy although nobody else sees it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MS_NOSUID = 2
MS_NODEV = 4
MS_NOATIME = 1024

_libc = ctypes.CDLL(None, use_errno=True)


class MountError(Exception):
    """Something could not be mounted or unmounted."""


@dataclass(frozen=True)
class Mount:
    """A mount, and a process that sees it; None for this process's own namespace."""

    source: str
    point: Path
    pid: int | None = None


def mount(source: Path, point: Path, kind: str, options: str) -> None:
    """Mount a device with nodev and nosuid."""
    flags = MS_NOSUID | MS_NODEV | MS_NOATIME
    texts = [os.fsencode(source), os.fsencode(point), kind.encode()]
    if _libc.mount(*texts, ctypes.c_ulong(flags), options.encode()) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise MountError(f"{source} cannot be mounted at {point}: {reason}")


def is_mounted(point: Path) -> bool:
    """Whether something is mounted at ``point``, as this process sees it."""
    return any(each.point == point for each in _seen_by("self", None))


def below(directory: Path) -> list[Path]:
    """What is mounted in ``directory``, as this process sees it."""
    return [each.point for each in _seen_by("self", None) if directory in each.point.parents]


def of_devices(devices: set[str]) -> list[Mount]:
    """Every mount of these devices in any namespace, the last ones first."""
    found = [
        each
        for process, pid in _one_of_each_namespace()
        for each in _seen_by(process, pid)
        if each.source in devices
    ]
    return found[::-1]


def unmount(mounted: Mount, *, timeout: float = 10.0) -> None:
    """Unmount, and wait for processes that are about to close their files."""
    deadline = time.monotonic() + timeout
    while True:
        problem = _try_unmount(mounted)
        if not problem:
            return
        if time.monotonic() > deadline:
            where = f" (as process {mounted.pid} sees it)" if mounted.pid else ""
            users = ", ".join(users_of(mounted.point)) or "nobody that can be seen"
            raise MountError(
                f"{mounted.point}{where} cannot be unmounted: {problem}; used by {users}"
            )
        time.sleep(0.1)


def _try_unmount(mounted: Mount) -> str:
    """Try once; return the problem, or None."""
    if mounted.pid is None:
        if _libc.umount2(os.fsencode(mounted.point), 0) == 0:
            return ""
        error = ctypes.get_errno()
        return "" if error == errno.EINVAL else os.strerror(error)  # EINVAL: not mounted
    namespace = Path(f"/proc/{mounted.pid}/ns/mnt")
    if mounted not in _seen_by(str(mounted.pid), mounted.pid):
        return ""  # already unmounted
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        return "nsenter is not installed"
    done = subprocess.run(
        [nsenter, f"--mount={namespace}", "umount", str(mounted.point)],
        capture_output=True,
        text=True,
    )
    return done.stderr.strip() if done.returncode else ""


def _seen_by(process: str, pid: int | None) -> list[Mount]:
    try:
        lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    except OSError:
        return []  # the process has ended
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        # The kernel writes spaces and the like as octal numbers.
        point = before.split()[4].encode().decode("unicode_escape").encode("latin-1")
        found.append(Mount(after.split()[1], Path(os.fsdecode(point)), pid))
    return found


def _one_of_each_namespace() -> Iterator[tuple[str, int | None]]:
    """This process, and one process of each other mount namespace."""
    yield "self", None
    seen = {os.stat("/proc/self/ns/mnt").st_ino}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            namespace = (entry / "ns/mnt").stat().st_ino
        except OSError:
            continue  # ended, or a kernel thread
        if namespace not in seen:
            seen.add(namespace)
            yield entry.name, int(entry.name)


def users_of(path: Path) -> list[str]:
    """Who has ``path``, or something below it, open, as readable text."""
    found = []
    prefix = f"{path}/"
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            links = [entry / "cwd", *(entry / "fd").iterdir()]
            if any(f"{os.readlink(link)}/".startswith(prefix) for link in links):
                name = (entry / "comm").read_text().strip()
                found.append(f"process {entry.name} ({name})")
        except OSError:
            continue  # ended while we looked
    return found
