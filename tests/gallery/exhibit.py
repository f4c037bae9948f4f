"""A disk of the gallery, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.gallery.bench import MIB, Bench
from volflow.disk.layout import Role

FILES, IMAGE = "files", "image"


@dataclass(frozen=True)
class Region:
    """A part of a disk, as it is expected.

    :ivar type: as blkid names what is on it; empty if that is nothing, or does not matter
    :ivar stored: as ``files`` or as an ``image``
    :ivar number: of the partition
    :ivar name: of the partition, or of the logical volume
    """

    role: Role
    type: str = ""
    stored: str = IMAGE
    number: int = 0
    name: str = ""


@dataclass(frozen=True)
class Exhibit:
    """A disk.

    :ivar name: what is special about it
    :ivar make: fills the disk, which is all zeros
    :ivar regions: its parts, with those of LVM where they are ranges
    :ivar table: ``dos``, ``gpt``, or empty if the volume is one part
    :ivar why: a part of the reason why the volume is taken whole
    :ivar size: bytes of the disk, mostly holes; a larger one is filled too
    :ivar sector: bytes of a sector of the device
    :ivar needs: programs that make it
    """

    name: str
    make: Callable[[Bench], None]
    regions: Sequence[Region]
    table: str = ""
    why: str = ""
    size: int = 256 * MIB
    sector: int = 512
    needs: Sequence[str] = ()

    def __str__(self) -> str:
        return self.name

    def build(self, disk: Path, scratch: Path, size: int = 0) -> None:
        """Make the disk.

        :param disk: a new file
        :param scratch: a directory for files that are removed again
        :param size: bytes of the disk, if it is to be larger
        """
        with Bench(disk, max(size, self.size), self.sector, scratch) as bench:
            self.make(bench)


def whole(kind: str = "", stored: str = IMAGE) -> tuple[Region, ...]:
    """The regions of a disk that is one part."""
    return (Region(Role.WHOLE, kind, stored),)


def partition(number: int, kind: str = "", stored: str = IMAGE, name: str = "") -> Region:
    return Region(Role.PARTITION, kind, stored, number, name)


def volume(name: str, kind: str = "", stored: str = IMAGE) -> Region:
    return Region(Role.VOLUME, kind, stored, name=name)


TABLE = Region(Role.TABLE)
GAP = Region(Role.GAP)
BACKUP = Region(Role.BACKUP_TABLE)
METADATA = Region(Role.METADATA)
