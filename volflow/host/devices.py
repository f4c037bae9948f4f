"""The block devices of this host, from sysfs."""

from __future__ import annotations

import os
from pathlib import Path

from volflow.errors import HostError

# The unit of sysfs, whatever the sectors of the device are (Documentation/block/stat.rst).
_SECTOR = 512


def device_size(path: str) -> int:
    """The size of a block device in bytes.

    :raises HostError: it is not a block device
    """
    name = Path(os.path.realpath(path)).name
    try:
        sectors = Path(f"/sys/class/block/{name}/size").read_text(encoding="ascii")
    except OSError as error:
        raise HostError(f"{path} is not a block device of this host: {error}") from error
    return int(sectors) * _SECTOR


def devices_below(path: Path) -> set[str]:
    """The block device of the file system that contains a path, and the devices below it."""
    while not path.exists():
        path = path.parent
    number = path.stat().st_dev
    start = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    pending, found = [start.resolve()] if start.exists() else [], set()
    while pending:
        device = pending.pop()
        found.add(f"/dev/{device.name}")
        if (device / "partition").exists():
            pending.append(device.parent)
        pending += [slave.resolve() for slave in (device / "slaves").glob("*")]
    return found
