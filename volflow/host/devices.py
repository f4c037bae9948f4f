"""The block devices of this host, from sysfs."""

from __future__ import annotations

import os
from pathlib import Path


def devices_below(path: Path) -> set[str]:
    """The block device of the file system that a path is on, and all that it is made of."""
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
