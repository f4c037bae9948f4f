"""The boot sector of an ext4 is kept, and a boot loader in it that needs its blocks is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from volflow.disk import boot_sector
from volflow.host.privilege import Privilege

ME = Privilege(helper="")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    with open(found, "wb") as file:
        file.truncate(16 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", str(found)], check=True)
    return found


def put(disk: Path, text: bytes) -> bytes:
    content = text.ljust(510, b"\x90") + b"\x55\xaa" + b"end".rjust(512, b"\0")
    boot_sector.write(ME, str(disk), content)
    return content


def test_a_boot_sector_is_read_as_it_was_written(disk: Path) -> None:
    assert boot_sector.read(ME, str(disk), "ext4") == b""
    content = put(disk, b"code of somebody")
    assert boot_sector.read(ME, str(disk), "ext4") == content
    subprocess.run(["e2fsck", "-f", "-n", str(disk)], check=True, capture_output=True)


def test_a_boot_sector_ends_before_the_superblock(disk: Path) -> None:
    before = disk.read_bytes()[boot_sector.SIZE :]
    boot_sector.write(ME, str(disk), b"x" * 4096)
    assert disk.read_bytes()[boot_sector.SIZE :] == before


def test_a_file_system_without_room_for_one_has_none(disk: Path) -> None:
    put(disk, b"code of somebody")
    assert boot_sector.read(ME, str(disk), "xfs") == b""


@pytest.mark.parametrize("name", ["EXTLINUX", "GRUB"])
def test_a_boot_loader_that_knows_block_numbers_needs_an_image(disk: Path, name: str) -> None:
    assert boot_sector.why_image(ME, str(disk), "ext4") == ""
    put(disk, f"..{name}..".encode())
    assert f"has {name}, which finds its files" in boot_sector.why_image(ME, str(disk), "ext4")
