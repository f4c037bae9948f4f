"""Faults of restic, and of what the repository or the volume is on."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fault_matrix.cell import Cell, Fault
from tests.fault_matrix.image import TEXT
from tests.fault_matrix.stand import Stand
from tests.support import tree
from tests.support.cloud import run
from tests.support.rest import RestServer

# More than two of restic's packs, so that there is a half-way.
_LARGE = 56 * tree.MIB
# Less than that.
_SMALL_DISK = "24m"
_VICTIM = "directory/07"


@contextmanager
def faulty(stand: Stand, cell: Cell) -> Iterator[tuple[Stand, Callable[[], None]]]:
    """A stand on which restic is going to fail, and what makes all well again."""
    if cell.fault is Fault.UNREADABLE:
        with _volume(stand, "unreadable", _plain) as here:
            yield _damaged(here), lambda: None
    elif cell.fault is Fault.DISK_FULL:
        with (
            _small_disk(stand) as disk,
            _volume(_begun(stand, disk), "large", _large) as here,
        ):
            yield here, lambda: None
    else:
        directory = stand.home.parent / f"served-{secrets.token_hex(4)}"
        with (
            RestServer(directory) as server,
            _volume(_begun(stand, directory, server.location), "large", _large) as here,
        ):
            if cell.flow != "backup":
                here.baseline = here.back_up()
            yield here, _trouble(here, server, cell)


@contextmanager
def doomed(stand: Stand) -> Iterator[Stand]:
    """A stand whose source nobody needs any more."""
    with _volume(stand, "old", _plain) as here:
        here.baseline = here.back_up()
        yield here


@contextmanager
def grouped(stand: Stand) -> Iterator[Stand]:
    """A stand whose source is in a group."""
    client = stand.cloud.client
    types = [kind.id for kind in client.volume_types.list()]
    with _volume(stand, "member", _plain) as here:
        kind = client.group_types.create(f"cells-{secrets.token_hex(4)}", "Of the matrix")
        group = client.groups.create(kind.id, ",".join(types), "group", "").id
        try:
            _settled(client, group)
            client.groups.update(group, add_volumes=here.source)
            _settled(client, group)
            here.look()
            yield replace(here, group=group)
        finally:
            _settled(client, group)
            client.groups.update(group, remove_volumes=here.source)
            _settled(client, group)
            client.groups.delete(group)


def _settled(client: Any, group: str) -> None:
    while client.groups.get(group).status not in ("available", "error"):
        time.sleep(0.05)


def _begun(stand: Stand, directory: Path, location: str | None = None) -> Stand:
    """A stand with a repository of its own, in which there is a backup: it must not be lost."""
    here = replace(stand, repository_path=directory, location=location)
    here.init()
    here.back_up()
    return here


def _trouble(here: Stand, server: RestServer, cell: Cell) -> Callable[[], None]:
    """Have the fault happen when restic is half-way; what makes all well again."""

    def kill() -> None:
        for pid in _restics(here.home):
            os.kill(pid, signal.SIGKILL)

    def go() -> None:
        server.down = True

    acts = {Fault.RESTIC_KILLED: kill, Fault.UNREACHABLE: go}
    server.after("POST" if cell.flow == "backup" else "GET", 2, acts.get(cell.fault, here.kill))

    def mend() -> None:
        server.down = False
        if not server.happened:
            raise RuntimeError("restic ended before the fault")

    return mend


def _restics(home: Path) -> Iterator[int]:
    """The processes of restic that work for this stand."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if command[0].endswith(b"restic") and any(os.fsencode(home) in each for each in command):
            yield int(entry.name)


@contextmanager
def _volume(stand: Stand, name: str, fill: Callable[[Path], None]) -> Iterator[Stand]:
    """A stand with another volume as its source."""
    volume = stand.cloud.create(name=name, description="as it was")
    try:
        stand.cloud.fill(volume, "ext4", fill)
        here = replace(stand, source=volume, reference=None)
        here.look()
        yield here
    finally:
        stand.cloud.delete(volume)


def _plain(root: Path) -> None:
    (root / "directory").mkdir()
    for number in range(20):
        (root / "directory" / f"{number:02}").write_text(f"{number}\n" * 50)
    (root / TEXT).write_text("as it was\n")
    (root / "sparse").touch()
    os.utime(root / "sparse", ns=(tree.MOMENT, tree.MOMENT))


def _large(root: Path) -> None:
    _plain(root)
    for number in range(8):
        (root / f"large{number}").write_bytes(secrets.token_bytes(_LARGE // 8))


def _damaged(stand: Stand) -> Stand:
    """The same, with one file whose inode is damaged."""
    # It is not looked at again.
    stand.change()
    with stand.cloud.attached(stand.source) as device:
        run("debugfs", "-w", "-R", f"set_inode_field /{_VICTIM} block[0] 0", device)
        run("sync")
    left = {path: entry for path, entry in stand.present.items() if path != os.fsencode(_VICTIM)}
    return replace(stand, present=left, changed=stand.state())


@contextmanager
def _small_disk(stand: Stand) -> Iterator[Path]:
    disk = stand.home.parent / "small-disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={_SMALL_DISK}", "tmpfs", str(disk))
    try:
        yield disk / "repository"
    finally:
        run("umount", str(disk))
        disk.rmdir()
