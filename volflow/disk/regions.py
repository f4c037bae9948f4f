"""The regions of a device: what each part of it holds, and how a backup stores it.

A region with a file system that this host can read and create again is stored as files. Every other
one is stored as an image, and says why if its type is usually stored as files.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from volflow.disk import boot_sector
from volflow.disk.filesystem import FileSystem
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.mapping import Mapping as Loops
from volflow.disk.signatures import Content
from volflow.host import devices
from volflow.host.privilege import Privilege

# The directory of a backup that holds the regions.
ROOT = Path("regions")
# What follows the number of a region in the name of its image.
_IMAGE = ".img"


def region_path(number: int, *, image: bool = False) -> Path:
    """The path in a new backup of the region with this number. They count from 0.

    :param image: whether it is stored as an image, which is one file
    """
    return ROOT / f"{number}{_IMAGE if image else ''}"


@dataclass(frozen=True)
class DiskRegion:
    """A region of a device.

    :ivar number: its place on the device; they count from 0
    :ivar part: where it is
    :ivar content: what blkid sees in it
    :ivar file_system: the file system of which the files are stored; None for an image
    :ivar why: why it is stored as an image, if its type is usually stored as files
    :ivar boot_sector: what precedes the superblock of the file system, if it is not empty
    """

    number: int
    part: Part
    content: Content = field(default_factory=lambda: Content("", "", ""))
    file_system: FileSystem | None = None
    why: str = ""
    boot_sector: bytes = b""

    @property
    def is_image(self) -> bool:
        return self.file_system is None

    @property
    def path(self) -> Path:
        """Its path in the backup."""
        return region_path(self.number, image=self.is_image)

    @property
    def size(self) -> int:
        """Bytes of the device."""
        return self.part.size

    def as_image(self, why: str) -> DiskRegion:
        """The same region, stored as an image.

        :param why: the reason, for people
        """
        return replace(self, file_system=None, boot_sector=b"", why=why)

    def __str__(self) -> str:
        """What it is, for people: ``partition 2 'root' (ext4)``."""
        kind = self.file_system.type if self.file_system else self.content.type
        return f"{self.part.what} ({kind})" if kind else self.part.what

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "boot_sector": base64.b64encode(self.boot_sector).decode()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiskRegion:
        """Read what :meth:`to_dict` returned.

        :raises ValueError: a value is impossible
        """
        stored = values.get("file_system")
        return cls(
            number=int(values["number"]),
            part=Part.from_dict(values["part"]),
            content=Content(**values["content"]),
            file_system=FileSystem.from_dict(stored) if stored else None,
            why=str(values.get("why", "")),
            boot_sector=boot_sector_of(values.get("boot_sector", "")),
        )


def boot_sector_of(text: str) -> bytes:
    """A stored boot sector.

    :raises ValueError: it is none
    """
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("a boot sector is not stored as base64") from error
    if len(found) > boot_sector.SIZE:
        raise ValueError("a boot sector is too long")
    return found


@dataclass(frozen=True)
class Disk:
    """What is on a device.

    :ivar layout: its parts; None if a release stored it that knew only one file system per device
    :ivar regions: one for each part, in their order
    """

    layout: Layout | None
    regions: tuple[DiskRegion, ...]

    @property
    def trees(self) -> tuple[DiskRegion, ...]:
        """The regions that are stored as files."""
        return tuple(region for region in self.regions if not region.is_image)

    @property
    def images(self) -> tuple[DiskRegion, ...]:
        """The regions that are stored as images."""
        return tuple(region for region in self.regions if region.is_image)

    @property
    def sector_size(self) -> int:
        """Bytes of a sector of the device."""
        return self.layout.sector_size if self.layout else 512

    @property
    def identity(self) -> str:
        """Tells whether two backups are of the same file systems; empty if there are none."""
        return " ".join(
            f"{region.number}:{region.file_system.uuid}"
            if len(self.regions) > 1
            # One file system that fills the device: as releases recorded it that knew no others.
            else region.file_system.uuid
            for region in self.trees
            if region.file_system
        )

    def on(self, size: int) -> Disk:
        """The same, where only the device tells its size.

        :param size: bytes of the device
        """
        if self.layout is not None:
            return self
        (region,) = self.regions
        return Disk(None, (replace(region, part=replace(region.part, size=size)),))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "layout": self.layout.to_dict() if self.layout else None,
            "regions": [region.to_dict() for region in self.regions],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Disk:
        """Read what :meth:`to_dict` returned, or the only file system that a release stored."""
        if "regions" not in values:
            found = FileSystem.from_dict(values)
            # Its device was attached when it was stored: :meth:`on` tells how large it is.
            return cls(None, (DiskRegion(0, Part(0, 0, Role.WHOLE), file_system=found),))
        layout = Layout.from_dict(values["layout"]) if values["layout"] else None
        return cls(layout, tuple(map(DiskRegion.from_dict, values["regions"])))


def whole(file_system: FileSystem, size: int) -> Disk:
    """A device that one file system fills.

    :param size: bytes of the device
    """
    part = Part(0, size, Role.WHOLE)
    content = Content(file_system.type, file_system.uuid, file_system.label)
    return Disk(None, (DiskRegion(0, part, content, file_system),))


class MappedRegions:
    """Block devices for regions of a device, until they are closed.

    A region that fills the device is the device itself. Each other one is a loop device over its
    range, because the kernel may know no partitions, and nobody waits for udev.

    :param regions: those to map
    :raises HostError: they cannot be mapped
    """

    def __init__(
        self,
        privilege: Privilege,
        device: str,
        regions: Collection[DiskRegion],
        *,
        read_only: bool,
        sector_size: int = 512,
    ) -> None:
        self.device = device
        self._paths: dict[int, str] = {}
        self._loops: Loops | None = None
        parts = [region for region in regions if region.part.role is not Role.WHOLE]
        self._paths |= {one.number: device for one in regions if one.part.role is Role.WHOLE}
        if parts:
            self._loops = Loops(
                privilege,
                device,
                [(one.part.start, one.part.size) for one in parts],
                read_only=read_only or devices.is_read_only(device),
                sector_size=sector_size,
            )
            numbers = [one.number for one in parts]
            self._paths |= dict(zip(numbers, self._loops.paths, strict=True))

    @property
    def paths(self) -> tuple[str, ...]:
        """The loop devices."""
        return self._loops.paths if self._loops else ()

    def of(self, region: DiskRegion) -> str:
        """The block device of a region."""
        return self._paths[region.number]

    def close(self) -> None:
        """Remove the loop devices. It may be called twice."""
        loops, self._loops = self._loops, None
        if loops is not None:
            loops.close()


@contextmanager
def mapped(
    privilege: Privilege,
    device: str,
    regions: Collection[DiskRegion],
    *,
    read_only: bool,
    sector_size: int = 512,
) -> Iterator[MappedRegions]:
    """Map regions while the block runs."""
    found = MappedRegions(privilege, device, regions, read_only=read_only, sector_size=sector_size)
    try:
        yield found
    finally:
        found.close()
