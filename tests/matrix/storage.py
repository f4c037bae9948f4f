"""Faults of restic, and of what the repository or the volume is on."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import tree
from cloud import run

from matrix.cell import Cell, Fault
from matrix.rest import RestServer
from matrix.stand import Stand

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
        with _small_disk(stand) as disk:
            # What was there before the disk is full must stay restorable.
            first = replace(stand, repository_path=disk)
            first.init()
            first.back_up()
            with _volume(first, "large", _large) as here:
                yield here, lambda: None
    else:
        with _volume(stand, "large", _large) as here:
            yield from _served(here, cell)


def _served(stand: Stand, cell: Cell) -> Iterator[tuple[Stand, Callable[[], None]]]:
    """The repository behind a server, which sees how far restic is."""
    directory = stand.home.parent / f"served-{secrets.token_hex(4)}"
    with RestServer(directory) as server:
        here = replace(stand, repository_path=directory, location=server.location)
        here.init()
        if cell.flow != "backup":
            here.baseline = here.back_up()

        def kill() -> None:
            for pid in _restics(stand.home):
                os.kill(pid, signal.SIGKILL)

        def go() -> None:
            server.down = True

        act = kill if cell.fault is Fault.RESTIC_KILLED else go
        server.after("POST" if cell.flow == "backup" else "GET", 2, act)

        def mend() -> None:
            server.down = False
            if not server.happened:
                raise RuntimeError("restic ended before the fault")

        yield here, mend


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
    volume = stand.cloud.create(name=name)
    try:
        stand.cloud.fill(volume, "ext4", fill)
        here = replace(stand, source=volume, content=stand.tree_of_volume(volume))
        yield here
    finally:
        stand.cloud.delete(volume)


def _plain(root: Path) -> None:
    (root / "directory").mkdir()
    for number in range(20):
        (root / "directory" / f"{number:02}").write_text(f"{number}\n" * 50)
    (root / "sparse").touch()
    os.utime(root / "sparse", ns=(tree.MOMENT, tree.MOMENT))


def _large(root: Path) -> None:
    _plain(root)
    for number in range(8):
        (root / f"large{number}").write_bytes(secrets.token_bytes(_LARGE // 8))


def _damaged(stand: Stand) -> Stand:
    """The same, with one file whose inode is damaged."""
    with stand.cloud.attached(stand.source) as device:
        run("debugfs", "-w", "-R", f"set_inode_field /{_VICTIM} block[0] 0", device)
        run("sync")
    left = {path: entry for path, entry in stand.content.items() if path != os.fsencode(_VICTIM)}
    return replace(stand, content=left)


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
