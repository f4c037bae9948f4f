"""Finds what was left behind: in Cinder, and on the host in every mount namespace."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

#: In the environment of every process that the demo starts, and so in that of their children.
MARK = "VOLFLOW_DEMO"


def in_cinder(cinder: Any, *, but: Collection[str]) -> list[str]:
    """Every volume, snapshot and attachment of all projects, except those with these ids."""
    everywhere = {"all_tenants": 1}
    found = {
        "volume": cinder.volumes.list(search_opts=everywhere),
        "snapshot": cinder.volume_snapshots.list(search_opts=everywhere),
        "attachment": cinder.attachments.list(search_opts=everywhere),
    }
    return [f"{kind} {each.id}" for kind in found for each in found[kind] if each.id not in but]


def on_host(directory: Path, *, but: Collection[Path | int] = ()) -> list[str]:
    """Every process, loop device and mount that belongs to the demo's directory.

    :param but: processes, files behind loop devices, and mount points of the demo itself
    """
    found = [f"process {pid}" for pid in _processes(directory) if pid not in but]
    for device, file in _loops(directory):
        if file not in but:
            found.append(f"loop device {device} of {file}")
    for namespace, point in _mounts(directory):
        if point not in but:
            found.append(f"mount {point} in {namespace}")
    return found


def _processes(directory: Path) -> Iterator[int]:
    marked = f"{MARK}={directory}".encode()
    for process in _all_processes():
        with suppress(OSError):  # it has ended
            if marked in (process / "environ").read_bytes().split(b"\0"):
                yield int(process.name)


def _loops(directory: Path) -> Iterator[tuple[str, Path]]:
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # it was freed meanwhile
            file = Path(backing.read_text().rstrip("\n"))
            if file.is_relative_to(directory):
                yield backing.parts[3], file


def _mounts(directory: Path) -> Iterator[tuple[str, Path]]:
    # One process of each namespace: all processes of a namespace see the same mounts.
    namespaces = {}
    for process in _all_processes():
        with suppress(OSError):
            namespaces[os.readlink(process / "ns" / "mnt")] = process
    devices = {f"/dev/{device}" for device, _ in _loops(directory)}
    for namespace, process in namespaces.items():
        with suppress(OSError):
            for line in (process / "mountinfo").read_text().splitlines():
                # proc(5): the fifth field is the mount point; the source follows the hyphen.
                before, _, after = line.partition(" - ")
                point, source = Path(before.split()[4]), after.split()[1]
                if point.is_relative_to(directory) or source in devices:
                    yield namespace, point


def _all_processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
