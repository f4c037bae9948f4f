"""Boot code that reads blocks by their numbers makes the parts that hold them images."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from volflow.disk import boot_code, layout
from volflow.host.privilege import Privilege, find_program

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="without sudo, probing is for root alone"),
    pytest.mark.skipif(not find_program("sfdisk"), reason="sfdisk is not installed"),
]

MIB = 1024**2
GRUB = Path("/usr/lib/grub/i386-pc")
# The parts: the table, two partitions, the rest.
SECTORS = {0: 1, 1: 2048 + 7, 2: 2048 + 8 * 2048 + 7}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(64 * MIB)
    script = "label: dos\nsize=8M\nsize=8M\n"
    subprocess.run(["sfdisk", "--quiet", path], input=script, text=True, check=True)
    return path


def write(disk: Path, offset: int, data: bytes) -> None:
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(data)


def images(disk: Path) -> list[int]:
    privilege = Privilege()
    found = boot_code.why_images(privilege, str(disk), layout.find(privilege, str(disk)))
    assert all("by their numbers" in each for each in found.values())
    return sorted(found)


def grub(first: int, *lists: tuple[int, int]) -> tuple[bytes, bytes]:
    """A boot sector that loads a sector, and that sector with a list of others."""
    if not GRUB.exists():
        pytest.skip("grub-pc-bin is not installed")
    sector = bytearray((GRUB / "boot.img").read_bytes()[:440])
    struct.pack_into("<Q", sector, 0x5C, first)
    core = bytearray((GRUB / "diskboot.img").read_bytes())
    for number, (start, count) in enumerate((*lists, (0, 0)), 1):
        struct.pack_into("<QHH", core, 512 - 12 * number, start, count, 0x820)
    return bytes(sector), bytes(core)


@pytest.mark.parametrize(("first", "rest"), [(0, 0), (1, 1), (0, 1), (2, 2), (1, 2)])
def test_what_grub_loads_from_a_partition_makes_it_an_image(
    disk: Path, first: int, rest: int
) -> None:
    sector, core = grub(SECTORS[first], (SECTORS[rest] + 1, 50))
    write(disk, 0, sector)
    write(disk, SECTORS[first] * 512, core)
    assert images(disk) == sorted({first, rest} - {0})


def test_legacy_grub_is_known_too(disk: Path) -> None:
    sector = bytearray(440)
    sector[0x3E:0x40] = b"\3\2"
    struct.pack_into("<I", sector, 0x44, SECTORS[2])
    sector[0x180:0x185] = b"GRUB "
    write(disk, 0, bytes(sector))
    assert images(disk) == [2]


def test_lilo_may_need_every_partition(disk: Path) -> None:
    write(disk, 6, b"LILO")
    assert images(disk) == [1, 2]


def test_other_boot_code_needs_none(disk: Path) -> None:
    assert images(disk) == []
    write(disk, 0, b"\xfa\x31\xc0" * 100)
    assert images(disk) == []


def test_places_beyond_the_disk_are_ignored(disk: Path) -> None:
    for first in (2**40, 2**49, 2**63):
        sector, _ = grub(first)
        write(disk, 0, sector)
        assert images(disk) == []
    # A list without end has as many entries as fit into a sector.
    sector, core = grub(1)
    write(disk, 0, sector)
    write(disk, 512, struct.pack("<QHH", 2**63, 0xFFFF, 1) * 42 + core[504:])
    assert images(disk) == []


def test_a_disk_without_table_is_left_alone(disk: Path) -> None:
    write(disk, 0, bytes(512) + b"GRUB ")
    assert images(disk) == []
