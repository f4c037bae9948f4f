"""How much was read from a block device, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

# The kernel's unit, whatever the sectors of the device are (Documentation/block/stat.rst).
_SECTOR = 512


def bytes_read(device: str) -> int:
    """Bytes read from a device since it was connected; 0 if the kernel does not report them."""
    try:
        number = os.stat(device).st_rdev
        name = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat"
        return int(Path(name).read_text().split()[2]) * _SECTOR
    except (OSError, IndexError, ValueError):
        # It is only shown to people.
        return 0
