"""The regions of a backup that are stored as images."""

from __future__ import annotations

import math
from pathlib import Path

from volflow.disk.layout import Role
from volflow.movers.base import RawImage
from volflow.repositories.manifest import Manifest, Region


def image_of(region: Region, device: str) -> RawImage:
    """A region of a backup that is stored as an image, on a device or in a file."""
    return RawImage(Path(region.path), device, region.place.start, region.place.size)


def restored_images(manifest: Manifest, size: int, end: float = math.inf) -> list[Region]:
    """The images of a backup that are written to a device as they are.

    Not those that could not be read, and on a larger device not the backup of a GPT: it is written
    to the end of that one.

    :param size: bytes of the device
    :param end: only those that end before this byte
    """
    larger = size > sum(region.size for region in manifest.regions)
    return [
        region
        for region in manifest.images
        if not region.unread
        and not (larger and region.place.role is Role.BACKUP_TABLE)
        and region.place.end <= end
    ]
