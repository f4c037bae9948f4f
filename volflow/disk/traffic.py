"""How much has been read from a block device, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

# The kernel's own, whatever the device's are (Documentation/block/stat.rst).
_SECTOR = 512


def bytes_read(device: str) -> int:
    """Bytes read from a device since it is there; 0 where the kernel does not say."""
    try:
        number = os.stat(device).st_rdev
        name = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat"
        return int(Path(name).read_text().split()[2]) * _SECTOR
    except (OSError, IndexError, ValueError):
        # It is told to people, and nothing hangs on it.
        return 0
