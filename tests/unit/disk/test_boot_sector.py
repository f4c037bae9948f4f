"""The boot sector of an ext4 is kept, and a boot loader in it that needs its blocks is found."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import loop
from tests.support import namespaces
from volflow.disk import boot_sector
from volflow.errors import HostError
from volflow.host.privilege import Privilege, find_program

ME = Privilege(helper="")
MAKE = {"ext4": "mkfs.ext4 -q -F", "xfs": "mkfs.xfs -q -f"}


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


def test_a_device_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    for act in (lambda path: boot_sector.read(ME, path, "ext4"), lambda path: put(Path(path), b"")):
        with pytest.raises(HostError, match="none: No such file"):
            act(str(tmp_path / "none"))


def test_a_file_system_without_room_for_one_has_none(disk: Path) -> None:
    put(disk, b"code of somebody")
    assert boot_sector.read(ME, str(disk), "xfs") == b""


@pytest.mark.parametrize("name", ["EXTLINUX", "GRUB"])
def test_a_boot_loader_that_knows_block_numbers_needs_an_image(disk: Path, name: str) -> None:
    assert boot_sector.why_image(ME, str(disk), "ext4") == ""
    put(disk, f"..{name}..".encode())
    assert f"has {name}, which finds its files" in boot_sector.why_image(ME, str(disk), "ext4")


@pytest.mark.parametrize(("kind", "make"), MAKE.items())
@pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing())
def test_a_real_extlinux_is_found(disk: Path, tmp_path: Path, kind: str, make: str) -> None:
    if not find_program("extlinux"):
        pytest.skip("extlinux is not installed")
    os.truncate(disk, 320 * 1024**2)
    subprocess.run([*make.split(), str(disk)], check=True)
    assert boot_sector.why_image(ME, str(disk), kind) == ""
    with mounted_here(disk, tmp_path / "mount") as root:
        (root / "boot").mkdir()
        subprocess.run(["extlinux", "--install", root / "boot"], check=True, capture_output=True)
    assert "has SYSLINUX" in boot_sector.why_image(ME, str(disk), kind)


def test_a_real_syslinux_is_found(tmp_path: Path) -> None:
    if not find_program("syslinux") or not find_program("mkfs.vfat"):
        pytest.skip("syslinux or mkfs.vfat is not installed")
    disk = tmp_path / "fat"
    run = ME.run
    # A label alone is no boot loader.
    run("mkfs.vfat", "-n", "GRUB", "-F", "32", "-C", str(disk), "65536")
    assert boot_sector.why_image(ME, str(disk), "vfat") == ""
    run("syslinux", "--install", str(disk))
    assert "has SYSLINUX" in boot_sector.why_image(ME, str(disk), "vfat")


@contextlib.contextmanager
def mounted_here(disk: Path, root: Path) -> Iterator[Path]:
    root.mkdir()
    with loop.held(disk) as device:
        subprocess.run(["mount", device, root], check=True)
        try:
            yield root
        finally:
            subprocess.run(["umount", root], check=True)
