"""Makes LVM disks, also where the kernel has no device mapper.

``lvcreate`` activates what it makes, so the logical volumes are written as a backup of the metadata
that is restored.
"""

from __future__ import annotations

import random
import string
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.cloud import run

EXTENT = 4 * 1024**2
# A segment: the first extent on the physical volume, and the number of extents.
Segments = Sequence[tuple[int, int]]


def group(
    device: str,
    name: str,
    volumes: Mapping[str, Segments],
    *options: str,
    more: Sequence[str] = (),
) -> None:
    """Make a device a physical volume of a new group with linear logical volumes.

    :param device: a block device
    :param volumes: the pieces of each logical volume, by its name
    :param options: of ``pvcreate``
    :param more: other physical volumes of the group
    """
    lvm("pvcreate", "|".join((device, *more)), "--yes", *options, device, *more)
    lvm("vgcreate", "|".join((device, *more)), name, device, *more)
    if volumes:
        change(device, name, "\n}\n", f"\n{logical_volumes(volumes)}\n}}\n")


def change(device: str, name: str, old: str, new: str) -> None:
    """Replace the last ``old`` in the metadata of a group."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "metadata"
        lvm("vgcfgbackup", device, "--file", str(file), name)
        before, found, after = file.read_text().rpartition(old)
        assert found, f"{old!r} is not in the metadata"
        file.write_text(f"{before}{new}{after}")
        lvm("vgcfgrestore", device, "--force", "--yes", "--file", str(file), name)


def logical_volumes(volumes: Mapping[str, Segments]) -> str:
    """The part of the metadata that describes these logical volumes."""
    return "\n".join(["logical_volumes {", *map(_volume, volumes, volumes.values()), "}"])


def _volume(name: str, segments: Segments) -> str:
    lines = [
        f"{name} {{",
        f'id = "{_id(name)}"',
        'status = ["READ", "WRITE", "VISIBLE"]',
        "flags = []",
        'creation_host = "guest"',
        "creation_time = 1700000000",
        f"segment_count = {len(segments)}",
    ]
    start = 0
    for number, (place, count) in enumerate(segments, 1):
        lines += [
            f"segment{number} {{",
            f"start_extent = {start}",
            f"extent_count = {count}",
            'type = "striped"',
            "stripe_count = 1",
            f'stripes = ["pv0", {place}]',
            "}",
        ]
        start += count
    return "\n".join([*lines, "}"])


def _id(name: str) -> str:
    drawn = random.Random(name)
    letters = string.ascii_letters + string.digits
    return "-".join("".join(drawn.choices(letters, k=k)) for k in (6, 4, 4, 4, 4, 4, 6))


def lvm(command: str, device: str, *arguments: str) -> str:
    """Run a command of LVM that sees only this device, or these with ``|`` between them."""
    config = (
        f'devices {{ scan=["/dev"] filter=["a:^({device})$:","r:.*:"] use_devicesfile=0 }} '
        "activation { udev_sync=0 udev_rules=0 } global { use_lvmpolld=0 } "
        "backup { backup=0 archive=0 }"
    )
    return run(command, "--config", config, *arguments)
