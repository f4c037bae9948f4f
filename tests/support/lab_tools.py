"""Helpers for the tests of the lab: its command line, its Cinder, block devices, remains."""

from __future__ import annotations

import contextlib
import glob
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import Lab, LabError, loop
from tests.support.waiting import LIMIT

CONNECTOR = {"host": "test-host", "initiator": "iqn.2026-01.org.example:test", "multipath": False}
CHECKOUT = Path(__file__).resolve().parents[2]
MIB = 1024**2


class CinderUser:
    """A test's use of Cinder; it records what it has made."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self._made: list[tuple[Callable[[str], Any], Callable[[str], Any], str]] = []

    def volume(self, size: int = 1, **options: Any) -> Any:
        """Make a volume and wait for it."""
        manager = self.client.volumes
        made = manager.create(size, **options)
        self._made.append((manager.delete, manager.get, made.id))
        return self.reaches(manager.get, made.id, "available")

    def snapshot(self, volume: Any) -> Any:
        """Take a snapshot and wait for it."""
        manager = self.client.volume_snapshots
        made = manager.create(volume.id)
        self._made.append((manager.delete, manager.get, made.id))
        return self.reaches(manager.get, made.id, "available")

    def attach(self, volume: Any) -> tuple[str, Path]:
        """Attach a volume to this host as volflow does; return the attachment's id and device."""
        from os_brick.initiator import connector

        manager = self.client.attachments
        made = _id(manager.create(volume.id, None, None, "null"))
        self._made.append((manager.delete, manager.show, made))
        manager.update(made, CONNECTOR)
        info = manager.show(made).connection_info
        brick = connector.InitiatorConnector.factory(info["driver_volume_type"], None)
        device = Path(brick.connect_volume(info)["path"])
        manager.complete(made)
        return made, device

    def detach(self, attachment: str) -> None:
        """Delete an attachment."""
        self.client.attachments.delete(attachment)

    def delete(self, resource: Any) -> None:
        """Delete a volume or a snapshot and wait until it no longer exists."""
        for delete, get, made in self._made:
            if made == resource.id:
                delete(made)
                self.gone(get, made)

    def clean(self) -> None:
        """Delete everything that still exists, in reverse order."""
        from cinderclient import exceptions

        problems = []
        for delete, get, made in reversed(self._made):
            try:
                delete(made)
                self.gone(get, made)
            except exceptions.NotFound:
                continue
            except Exception as error:  # noqa: BLE001 - the others are to go all the same
                problems.append(f"{made}: {error}")
        assert not problems

    def reaches(self, get: Callable[[str], Any], made: str, status: str) -> Any:
        """Wait until a resource has a status; an error status ends the wait."""
        deadline = time.monotonic() + LIMIT
        while True:
            found = get(made)
            if found.status == status:
                return found
            assert "error" not in found.status, f"{made} is {found.status}"
            assert time.monotonic() < deadline, f"{made} is {found.status} and not {status}"
            time.sleep(0.1)

    def gone(self, get: Callable[[str], Any], made: str) -> None:
        """Wait until a resource no longer exists."""
        from cinderclient import exceptions

        deadline = time.monotonic() + LIMIT
        with contextlib.suppress(exceptions.NotFound):
            while True:
                status = getattr(get(made), "status", "")
                assert "error" not in status, f"{made} is {status}"
                assert time.monotonic() < deadline, f"{made} is still there, {status}"
                time.sleep(0.1)


def _id(attachment: Any) -> str:
    # Since microversion 3.27 the client returns a dictionary instead of an object.
    return str(attachment["id"] if isinstance(attachment, dict) else attachment.id)


def write(device: Path, data: bytes, offset: int = 0) -> None:
    """Write to a block device and sync it."""
    with open(device, "r+b") as stream:
        stream.seek(offset)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def read(device: Path, size: int, offset: int = 0) -> bytes:
    """Read from a block device."""
    with open(device, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def exported(device: Path) -> Callable[[], bool]:
    """Returns a function that reports whether a loop device still has its present file.

    Other programs on this machine may use its number as soon as it is free.
    """
    (now,) = [each for each in loop.in_use() if each.path == device]
    return lambda: any((each.number, each.file) == (now.number, now.file) for each in loop.in_use())


def is_up(lab: Lab) -> bool:
    """Whether a lab's server process runs."""
    try:
        return bool(lab.pid)
    except LabError:
        return False


def remains(directory: Path) -> list[str]:
    """What remains of a lab on this machine: mounts, devices, processes, files."""
    text = str(directory)
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if text in line]
    for name in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            backing = Path(name).read_text().strip()
            found += [f"{name}: {backing}"] if text in backing else []
    for name in glob.glob("/proc/[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = Path(name).read_bytes().decode(errors="replace").split("\0")
            found += [f"{name}: {words}"] if text in words else []
    if directory.exists():
        found.append(f"{directory}: {sorted(entry.name for entry in directory.iterdir())}")
    return found


def run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The lab's command line, as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "lab", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=check,
        timeout=300,
    )
