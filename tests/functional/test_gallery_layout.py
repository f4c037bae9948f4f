"""Each disk of the gallery is taken apart as expected, and nothing of it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import loop
from tests.gallery.catalogue import exhibits, missing
from tests.gallery.exhibit import FILES, Exhibit, Region
from tests.support.waiting import until
from volflow.disk import boot_code, boot_sector, layout, lvm, signatures
from volflow.disk.layout import Layout, Role
from volflow.disk.mapping import Mapping
from volflow.errors import DiskError
from volflow.host.privilege import Privilege

PRIVILEGE = Privilege()
CONTENT = (Role.WHOLE, Role.PARTITION, Role.VOLUME)


@pytest.fixture
def disk(scratch: Path) -> Iterator[Path]:
    path = scratch / "exhibit"
    yield path
    path.unlink(missing_ok=True)
    until(lambda: not any(each.file == str(path) for each in loop.in_use()))


@contextmanager
def attached(disk: Path, sector: int) -> Iterator[str]:
    """The disk as a block device."""
    ranges = [(0, disk.stat().st_size)]
    with Mapping(PRIVILEGE, str(disk), ranges, read_only=True, sector_size=sector) as mapped:
        yield mapped.paths[0]


def with_volumes(device: str, found: Layout) -> Layout:
    """The layout with the logical volumes of LVM."""
    for part in found.parts:
        if part.role in CONTENT:
            volumes = lvm.find(PRIVILEGE, device, part.start, part.size)
            if not isinstance(volumes, str):
                found = found.split(part, volumes)
    return found


def regions(device: str, found: Layout) -> list[Region]:
    """The parts of a device, with what is on them and how it can be stored."""
    needed = boot_code.why_images(PRIVILEGE, device, found)
    ranges = [(each.start, each.size) for each in found.parts]
    seen = []
    with Mapping(
        PRIVILEGE, device, ranges, read_only=True, sector_size=found.sector_size
    ) as mapped:
        for number, (part, path) in enumerate(zip(found.parts, mapped.paths, strict=True)):
            region = Region(part.role, number=part.number, name=part.name)
            if part.role in CONTENT:
                kind = signatures.content(PRIVILEGE, path).type
                stored = "image" if number in needed else how(path)
                region = Region(part.role, kind, stored, part.number, part.name)
            seen.append(region)
    return seen


def how(path: str) -> str:
    """Whether a part can be stored as files, before anybody has tried to mount it."""
    try:
        found = signatures.identify(PRIVILEGE, path)
    except DiskError:
        return "image"
    return "image" if boot_sector.why_image(PRIVILEGE, path, found.type) else FILES


@pytest.mark.parametrize("exhibit", exhibits(), ids=str)
def test_a_disk_is_taken_apart_as_expected(exhibit: Exhibit, disk: Path, scratch: Path) -> None:
    if why := missing(exhibit):
        pytest.skip(why)
    exhibit.build(disk, scratch)
    with attached(disk, exhibit.sector) as device:
        plain = layout.find(PRIVILEGE, device)
        found = with_volumes(device, plain)
        assert (found.table, found.sector_size) == (exhibit.table, exhibit.sector)
        assert exhibit.why in found.why
        assert bool(exhibit.why) == bool(found.why)
        assert regions(device, found) == list(exhibit.regions)
        assert Layout.from_dict(found.to_dict()) == found
        # Once more: looking changes nothing.
        assert layout.find(PRIVILEGE, device) == plain


def test_the_gallery_has_many_disks_with_names_of_their_own() -> None:
    names = [str(each) for each in exhibits()]
    assert len(names) == len(set(names)) > 40


def test_a_disk_of_the_gallery_can_be_larger(disk: Path, scratch: Path) -> None:
    (exhibit,) = [each for each in exhibits() if each.name == "hybrid MBR"]
    exhibit.build(disk, scratch, 2 * exhibit.size)
    found = layout.find(PRIVILEGE, str(disk))
    assert found.size == 2 * exhibit.size
    assert [each.role for each in found.parts] == [each.role for each in exhibit.regions]
