"""What is on a device is stored as files where that is possible, and else as images."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from lab import loop
from tests.support.lvm_disks import group
from tests.support.rehearsals import Able
from volflow.disk import boot_sector
from volflow.disk.filesystem import FileSystem
from volflow.disk.inspection import Choice, Inspection, Inspector
from volflow.disk.layout import Role
from volflow.disk.mapping import Mapping
from volflow.disk.regions import Disk
from volflow.disk.rehearsal import CannotCreateError, Fit
from volflow.host.privilege import Privilege, find_program

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or find_program("sfdisk") is None,
        reason="loop devices and sfdisk need root and the package fdisk",
    ),
    pytest.mark.heavy,
]

MIB = 1024**2
ME = Privilege(helper="")


def disk(directory: Path, *content: Sequence[str] | None, table: str = "gpt") -> Path:
    """A disk with a partition of 32 MiB for each of these commands, which fill them."""
    found = directory / "disk"
    found.touch()
    os.truncate(found, (32 * len(content) + 8) * MIB)
    lines = [f"label: {table}", *("size=32MiB" for _ in content)]
    subprocess.run(["sfdisk", "-q", found], input="\n".join(lines), text=True, check=True)
    for number, command in enumerate(content):
        if command is None:
            continue
        part = directory / "part"
        part.touch()
        os.truncate(part, 32 * MIB)
        subprocess.run([*command, str(part)], check=True, capture_output=True)
        with open(found, "r+b") as file:
            file.seek((1 + 32 * number) * MIB)
            file.write(part.read_bytes())
        part.unlink()
    return found


EXT4, SWAP = ("mkfs.ext4", "-qF"), ("mkswap", "-L", "s")


def inspect(path: Path, rehearsal: Any = None, **choice: Any) -> Inspection:
    inspector = Inspector(ME, cast(Any, rehearsal or Able()), Choice(**choice))
    return inspector.inspect(str(path), path.stat().st_size)


def summary(found: Inspection) -> list[tuple[Role, str, bool]]:
    return [
        (one.part.role, one.file_system.type if one.file_system else one.content.type, one.is_image)
        for one in found.disk.regions
    ]


def test_each_partition_is_stored_by_what_is_on_it(tmp_path: Path) -> None:
    found = inspect(disk(tmp_path, EXT4, SWAP, None))
    assert summary(found) == [
        (Role.TABLE, "", True),
        (Role.PARTITION, "ext4", False),
        (Role.PARTITION, "swap", True),
        (Role.PARTITION, "", True),
        (Role.GAP, "", True),
        (Role.BACKUP_TABLE, "", True),
    ]
    # What always is an image needs no reason.
    assert not any(one.why for one in found.disk.regions)
    assert found.disk.regions[2].content.label == "s"
    assert Disk.from_dict(found.disk.to_dict()) == found.disk


def test_a_device_without_a_table_is_one_region(tmp_path: Path) -> None:
    path = tmp_path / "plain"
    path.touch()
    os.truncate(path, 32 * MIB)
    assert summary(inspect(path)) == [(Role.WHOLE, "", True)]
    subprocess.run([*EXT4, path], check=True)
    found = inspect(path)
    assert summary(found) == [(Role.WHOLE, "ext4", False)]
    (region,) = found.disk.regions
    assert region.file_system
    assert found.disk.identity == region.file_system.uuid


def test_a_whole_image_is_taken_on_request(tmp_path: Path) -> None:
    (region,) = inspect(disk(tmp_path, EXT4), image=True).disk.regions
    assert (region.part.role, region.is_image, region.why) == (
        Role.WHOLE,
        True,
        "--image was given",
    )


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ({"image_types": ["ext4"]}, "[backup] image_types has ext4"),
        ({"file_types": ["xfs"]}, "[backup] file_types does not have ext4"),
    ],
)
def test_a_type_can_be_chosen_to_be_an_image(
    tmp_path: Path, choice: dict[str, Any], why: str
) -> None:
    region = inspect(disk(tmp_path, EXT4), **choice).disk.regions[1]
    assert (region.is_image, region.why) == (True, why)


def test_a_file_system_that_cannot_be_made_again_is_an_image(tmp_path: Path) -> None:
    class Unable(Able):
        def fit(self, file_system: FileSystem, room: int) -> Fit:
            raise CannotCreateError("mkfs is too old.", "old")

    region = inspect(disk(tmp_path, EXT4), Unable()).disk.regions[1]
    assert (region.is_image, region.why) == (True, "mkfs is too old.")


def test_a_damaged_file_system_is_an_image_with_its_damage(tmp_path: Path) -> None:
    path = disk(tmp_path, EXT4, EXT4)
    with open(path, "r+b") as file:
        file.seek(MIB + 1024 + 0x20)
        file.write(bytes(8))
    broken, sound = inspect(path).disk.regions[1:3]
    assert broken.is_image
    assert "checksum of its superblock is wrong" in broken.why
    assert not sound.is_image


def test_a_boot_sector_is_kept_and_a_boot_loader_keeps_its_blocks(tmp_path: Path) -> None:
    path = disk(tmp_path, EXT4, EXT4)
    for number, text in ((0, b"somebody"), (1, b"EXTLINUX")):
        with open(path, "r+b") as file:
            file.seek((1 + 32 * number) * MIB)
            file.write(text)
    kept, image = inspect(path).disk.regions[1:3]
    assert (kept.boot_sector[:8], len(kept.boot_sector)) == (b"somebody", boot_sector.SIZE)
    assert image.is_image
    assert "EXTLINUX" in image.why


@pytest.mark.skipif(find_program("vgcreate") is None, reason="lvm2 is not installed")
def test_linear_logical_volumes_are_regions_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 100 * MIB)
    with loop.held(path) as device:
        group(str(device), "vg", {"root": [(0, 10)], "swap": [(10, 3)]})
        places = {one.part.name: one.part for one in inspect(path).disk.regions if one.part.name}
        for name, command in (("vg/root", EXT4), ("vg/swap", SWAP)):
            part = places[name]
            with Mapping(ME, str(device), [(part.start, part.size)], read_only=False) as mapped:
                subprocess.run([*command, *mapped.paths], check=True, capture_output=True)
    found = inspect(path)
    kinds = [(one.part.role, one.part.name, one.is_image) for one in found.disk.regions]
    assert (Role.VOLUME, "vg/root", False) in kinds
    assert (Role.VOLUME, "vg/swap", True) in kinds
    assert {one.is_image for one in found.disk.regions if one.part.role is Role.METADATA} == {True}
    whole = inspect(path, image_types=["LVM2_member"])
    (region,) = whole.disk.regions
    assert (region.content.type, region.is_image) == ("LVM2_member", True)
