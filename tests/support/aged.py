"""Makes the files of a volume older than they are.

Only the kernel's clock sets a ctime, so it is written into the inodes of a file system that is not
mounted.
"""

from __future__ import annotations

import time
from pathlib import Path

from tests.support.cloud import Cloud, run

DAY = 24 * 60 * 60


def age(cloud: Cloud, volume_id: str, seconds: float = DAY) -> None:
    """Set the mtime and ctime of all regular files of an ext4 back, to one moment before now."""
    moment = int(time.time() - seconds)

    def inodes(root: Path) -> list[str]:
        return run("find", str(root), "-xdev", "-type", "f", "-printf", "%i\n").split()

    with cloud.attached(volume_id) as device:
        stamp(device, cloud.mounted(device, inodes, read_only=True), moment)


def stamp(device: str, inodes: list[str], moment: int) -> None:
    """Set the mtime and ctime of inodes of an ext4 that is not mounted, in whole seconds.

    The fractions stay.
    """
    requests = [
        f"set_inode_field <{inode}> {field} @{moment}"
        for inode in inodes
        for field in ("ctime", "mtime")
    ]
    run("debugfs", "-w", "-f", "/dev/stdin", device, input="\n".join(requests) + "\n")
