"""The storage pool: one sparse file with XFS on it, mounted through a loop device.

With XFS's reflinks a snapshot of a volume takes milliseconds, whatever its size.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab import loop, mount

FICLONE = 0x40049409
GIB = 1024**3


class PoolError(Exception):
    """The pool could not be made, or a file in it could not be cloned."""


@dataclass(frozen=True)
class Usage:
    """The space of the pool, in bytes."""

    total: int
    free: int
    #: The disk space of the pool's file, including the file system's own.
    on_disk: int


@dataclass(frozen=True)
class Pool:
    """A pool: its file and its mount point."""

    file: Path
    mount_point: Path

    def create(self, size_gib: int, environment: dict[str, str] | None = None) -> None:
        """Make the file, its file system, and mount it."""
        with open(self.file, "xb") as file:
            os.chmod(file.fileno(), 0o600)
            file.truncate(size_gib * GIB)
        made = subprocess.run(
            [mkfs() or "mkfs.xfs", "-q", "-K", "-m", "reflink=1", str(self.file)],
            capture_output=True,
            text=True,
            env=environment,
        )
        if made.returncode:
            raise PoolError(f"mkfs.xfs failed: {made.stderr.strip()}")
        self.mount()

    def mount(self) -> None:
        """Mount the pool's file system."""
        self.mount_point.mkdir(mode=0o700, exist_ok=True)
        with loop.held(self.file) as device:
            # discard: returns the blocks of a deleted volume to the file system that holds the
            # pool's file. Otherwise the file would never shrink.
            mount.mount(device, self.mount_point, "xfs", "discard")

    @property
    def mounted(self) -> bool:
        """Whether the pool is mounted, as this process sees it."""
        return mount.is_mounted(self.mount_point)

    def usage(self) -> Usage:
        """The pool's space now."""
        found = os.statvfs(self.mount_point)
        return Usage(
            total=found.f_blocks * found.f_frsize,
            free=found.f_bavail * found.f_frsize,
            on_disk=self.file.stat().st_blocks * 512,
        )


def mkfs() -> str | None:
    """The path of mkfs.xfs; root's PATH may lack the sbin directories."""
    return shutil.which("mkfs.xfs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def clone(source: Path, target: Path) -> None:
    """Make ``target`` a copy of ``source`` that shares its blocks, completely or not at all."""
    fresh = target.with_name(f"{target.name}.new")
    with open(source, "rb") as read, open(fresh, "wb") as write:
        os.chmod(write.fileno(), 0o600)
        try:
            fcntl.ioctl(write, FICLONE, read.fileno())
        except OSError as error:
            fresh.unlink()
            raise PoolError(f"{source.name} cannot be cloned: {error.strerror}") from error
    os.replace(fresh, target)
