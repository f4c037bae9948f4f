"""Images of ranges of devices in memory: how they are read from a device, and written to one."""

from __future__ import annotations

import hashlib
import os
import stat
import time

from tests.support.memory_files import Entry
from volflow.errors import HostError
from volflow.movers.base import RawImage

_BLOCK = 4096


def read_image(image: RawImage) -> Entry:
    """The range of the device as a file of a backup.

    :raises OSError: it cannot be read
    """
    content = _content(image)
    now = int(time.time())
    mode = stat.S_IFREG | 0o600
    status = os.stat_result((mode, image.start + 1, 0, 1, 0, 0, len(content), now, now, now))
    return Entry(status, content, hashlib.sha256(content).hexdigest(), {})


def write_image(image: RawImage, entry: Entry, *, blank: bool) -> None:
    """Write a file of a backup to the range of the device."""
    _refuse_other_size(image, entry)
    with open(image.device, "r+b", buffering=0) as device:
        if device.seek(0, os.SEEK_END) < image.start + image.size:
            raise HostError(f"{image.device} ends before the range does.")
        for at in range(0, image.size, _BLOCK):
            block = entry.content[at : at + _BLOCK]
            if any(block) or not blank:
                os.pwrite(device.fileno(), block, image.start + at)
        os.fsync(device.fileno())


def compare_image(image: RawImage, entry: Entry) -> None:
    """Compare the range of the device with a file of a backup."""
    _refuse_other_size(image, entry)
    content = _content(image)
    if content != entry.content:
        pairs = enumerate(zip(content, entry.content, strict=True))
        first = next(at for at, (found, stored) in pairs if found != stored)
        raise HostError(f"It differs from {image.path} at byte {first:,}.")


def _content(image: RawImage) -> bytes:
    with open(image.device, "rb", buffering=0) as device:
        os.posix_fadvise(device.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        device.seek(image.start)
        content = b""
        while len(content) < image.size:
            if not (more := device.read(image.size - len(content))):
                raise OSError(f"{image.device} ends before the range does")
            content += more
        return content


def _refuse_other_size(image: RawImage, entry: Entry) -> None:
    size = len(entry.content) if entry.type == "file" else None
    if size != image.size:
        raise HostError(f"{image.path} has {size:,} bytes, and its range has {image.size:,}.")
