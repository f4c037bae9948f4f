"""The block devices of this host, from sysfs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from volflow.errors import HostError

SYSFS = Path("/sys")
# The unit of sysfs, whatever the sectors of the device are (Documentation/block/stat.rst).
_SECTOR = 512


class BlockDevice:
    """A block device of this host.

    :param path: the device, or a link to it
    :param sysfs: where sysfs is mounted
    :raises HostError: it is not a block device of this host
    """

    def __init__(self, path: str | Path, sysfs: Path = SYSFS) -> None:
        self.name = Path(os.path.realpath(path)).name
        self._class = sysfs / "class" / "block"
        self._directory = self._class / self.name
        if not (self._directory / "size").exists():
            raise HostError(f"{path} is not a block device of this host.")

    @property
    def sysfs_path(self) -> Path:
        """Its directory in sysfs, which shows what it is connected to."""
        return self._directory.resolve()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return int(self.attribute("size")) * _SECTOR

    @property
    def sequence(self) -> int:
        """A number that no other disk of this boot has, and that is larger than those before it.

        A loop device gets a new one with each file. Linux 5.15 and later have it as ``diskseq``
        (Documentation/ABI/stable/sysfs-block); before, the inode of sysfs, which counts up too.
        """
        disk = self._directory
        if (disk / "partition").exists():
            disk = disk.resolve().parent
        found = _read(disk / "diskseq")
        bound = disk / "loop"
        return int(found) if found else (bound if bound.exists() else disk).stat().st_ino

    @property
    def parts(self) -> list[BlockDevice]:
        """The devices that it consists of, such as the paths of a multipath device; or itself."""
        slaves = sorted(slave.name for slave in (self._directory / "slaves").glob("*"))
        if not slaves:
            return [self]
        sysfs = self._class.parent.parent
        return [part for name in slaves for part in BlockDevice(name, sysfs).parts]

    def attribute(self, name: str) -> str:
        """A file in its directory in sysfs; empty if the device has none."""
        return _read(self._directory / name)


def newest(sysfs: Path = SYSFS) -> int:
    """The highest :attr:`BlockDevice.sequence` of all devices of this host; 0 without any."""
    highest = 0
    for found in (sysfs / "class" / "block").glob("*"):
        try:
            highest = max(highest, BlockDevice(found.name, sysfs).sequence)
        except (HostError, OSError):
            continue  # it has been removed in the meantime
    return highest


def remaining(sequences: Mapping[str, int], sysfs: Path = SYSFS) -> list[str]:
    """Which of these devices still exist.

    :param sequences: the number of each device, by name
    :returns: their paths in ``/dev``
    """
    found = []
    for name, sequence in sequences.items():
        try:
            if BlockDevice(name, sysfs).sequence == sequence:
                found.append(f"/dev/{name}")
        except (HostError, OSError):
            continue
    return found


def device_size(path: str) -> int:
    """The size of a block device in bytes.

    :raises HostError: it is not a block device
    """
    return BlockDevice(path).size


def nearest_existing(path: Path) -> Path:
    """A path, or its nearest ancestor that exists."""
    while not path.exists():
        path = path.parent
    return path


def devices_below(path: Path) -> set[str]:
    """The block device of the file system that contains a path, and the devices below it."""
    number = nearest_existing(path).stat().st_dev
    start = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    pending, found = [start.resolve()] if start.exists() else [], set()
    while pending:
        device = pending.pop()
        found.add(f"/dev/{device.name}")
        if (device / "partition").exists():
            pending.append(device.parent)
        pending += [slave.resolve() for slave in (device / "slaves").glob("*")]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def is_read_only(path: str) -> bool:
    """Whether a block device cannot be written to; False for anything else (sysfs, ``ro``)."""
    try:
        device = os.stat(path).st_rdev
        return Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/ro").read_text() == "1\n"
    except OSError:
        return False
