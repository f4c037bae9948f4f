"""Every byte of a device belongs to exactly one part, whatever its table says."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import namespaces
from volflow.disk import layout, partitions
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.mapping import Mapping
from volflow.errors import DiskError
from volflow.host.privilege import Privilege, find_program
from volflow.host.program import Limit

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="without sudo, probing is for root alone"),
    pytest.mark.skipif(not find_program("sfdisk"), reason="sfdisk is not installed"),
    pytest.mark.heavy,
]

MIB = 1024**2
SECTOR = 512
SIZE = 64 * MIB
LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
EXTENDED, PROTECTIVE = 0x05, 0xEE


def sfdisk(disk: Path | str, script: str, *options: str) -> None:
    subprocess.run(["sfdisk", "--quiet", *options, str(disk)], input=script, text=True, check=True)


def find(disk: Path | str) -> Layout:
    found = layout.find(Privilege(), str(disk))
    # The class itself checks that the parts cover the disk.
    assert Layout.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    return found


def brief(found: Layout) -> list[tuple[Any, ...]]:
    """The sectors, role and number of each part."""
    unit = found.sector_size
    return [(each.start // unit, each.size // unit, each.role, each.number) for each in found.parts]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk1"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def with_entries(disk: Path) -> Callable[..., Path]:
    """Writes a boot sector with such entries: type, first sector, sectors."""

    def write(*entries: tuple[int, int, int], at: int = 0) -> Path:
        sector = bytearray(SECTOR)
        sector[510:] = b"\x55\xaa"
        for number, (kind, start, count) in enumerate(entries):
            struct.pack_into("<B3xB3xII", sector, 446 + 16 * number, 0, kind, start, count)
        with open(disk, "r+b") as file:
            file.seek(at * SECTOR)
            file.write(sector)
        return disk

    return write


def test_primary_and_logical_partitions_are_parts(disk: Path) -> None:
    script = "label: dos\nlabel-id: 0x12345678\nsize=4M,type=83,bootable\nsize=20M,type=5\n"
    sfdisk(disk, f"{script}type=82,size=5M\nsize=5M\nsize=3M\nsize=2M\n")
    found = find(disk)
    assert (found.table, found.table_id, found.sector_size) == ("dos", "0x12345678", 512)
    assert brief(found) == [
        (0, 2048, Role.TABLE, 0),
        (2048, 8192, Role.PARTITION, 1),
        (10240, 2048, Role.GAP, 0),
        (12288, 6144, Role.PARTITION, 5),
        (18432, 2048, Role.GAP, 0),
        (20480, 4096, Role.PARTITION, 6),
        (24576, 26624, Role.GAP, 0),
        (51200, 10240, Role.PARTITION, 3),
        (61440, 10240, Role.PARTITION, 4),
        (71680, 59392, Role.GAP, 0),
    ]
    assert found.parts[1].type == "83"
    assert str(disk) not in found.dump


def test_a_gpt_has_a_backup_at_its_end(disk: Path) -> None:
    sfdisk(disk, 'label: gpt\nsize=4M,name="a\'b é"\nstart=20480,size=5M\n')
    found = find(disk)
    assert found.table == "gpt"
    assert brief(found) == [
        (0, 2048, Role.TABLE, 0),
        (2048, 8192, Role.PARTITION, 1),
        (10240, 10240, Role.GAP, 0),
        (20480, 10240, Role.PARTITION, 2),
        (30720, 100319, Role.GAP, 0),
        (131039, 33, Role.BACKUP_TABLE, 0),
    ]
    assert (found.parts[1].name, found.parts[1].type) == ("a'b é", LINUX)


def test_the_backup_of_a_volume_that_grew_is_where_it_was(disk: Path) -> None:
    sfdisk(disk, "label: gpt\nsize=4M\n")
    os.truncate(disk, SIZE + 8 * MIB)
    assert brief(find(disk))[-2:] == [
        (131039, 33, Role.BACKUP_TABLE, 0),
        (131072, 16384, Role.GAP, 0),
    ]


@pytest.mark.parametrize("kind", ["dos", "gpt"])
def test_the_dump_makes_the_same_table_again(disk: Path, tmp_path: Path, kind: str) -> None:
    sfdisk(disk, f"label: {kind}\nsize=4M\nsize=8M\nsize=2M\n")
    first = find(disk)
    again = tmp_path / "again"
    with open(again, "wb") as file:
        file.truncate(SIZE)
    sfdisk(again, first.dump)
    assert find(again) == first


def test_a_hybrid_mbr_does_not_hide_the_gpt(disk: Path, with_entries: Callable[..., Path]) -> None:
    sfdisk(disk, "label: gpt\nsize=4M\nsize=8M\n")
    plain = find(disk)
    with_entries((PROTECTIVE, 1, 2047), (0x83, 2048, 8192))
    assert find(disk) == plain


@pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing())
@pytest.mark.parametrize("kind", ["dos", "gpt"])
def test_sectors_can_have_four_kilobytes(disk: Path, kind: str) -> None:
    with Mapping(Privilege(), str(disk), [(0, SIZE)], read_only=False, sector_size=4096) as mapped:
        sfdisk(mapped.paths[0], f"label: {kind}\nsize=4M\nsize=8M\n")
        found = find(mapped.paths[0])
    assert (found.table, found.sector_size) == (kind, 4096)
    assert brief(found)[:3] == [
        (0, 256, Role.TABLE, 0),
        (256, 1024, Role.PARTITION, 1),
        (1280, 2048, Role.PARTITION, 2),
    ]
    if kind == "gpt":
        # Also where the device has smaller ones.
        assert find(disk) == found


@pytest.mark.parametrize(
    "program",
    [
        *("mkfs.ext4 -q -F", "mkfs.xfs -q -f", "mkswap -q", "mkfs.exfat", "mkntfs -Q -F"),
        *("mkfs.vfat", "mkfs.vfat -F 32"),
    ],
)
def test_a_volume_without_table_is_one_part(disk: Path, program: str) -> None:
    name, *options = program.split()
    if not find_program(name):
        pytest.skip(f"{name} is not installed")
    os.truncate(disk, 320 * MIB)
    subprocess.run([str(find_program(name)), *options, disk], check=True, capture_output=True)
    assert find(disk) == Layout.whole(320 * MIB)


def test_an_empty_or_unknown_volume_is_one_part(disk: Path) -> None:
    assert find(disk) == Layout.whole(SIZE)
    disk.write_bytes(random.Random(1).randbytes(MIB))
    assert find(disk) == Layout.whole(MIB)


def test_a_file_system_with_an_empty_table_is_one_part(
    disk: Path, with_entries: Callable[..., Path]
) -> None:
    subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
    assert find(with_entries()) == Layout.whole(SIZE)
    assert "also ext4 at offset 1080" in find(with_entries((0x83, 2048, 8192))).why


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([(0x83, 2048, 4096), (0x83, 4096, 4096)], "partitions 1 and 2 overlap"),
        ([(0x83, 2048, 99999), (EXTENDED, 4096, 4096)], "partitions 1 and 2 overlap"),
        ([(0x83, 2048, 4096), (0x83, SIZE // 512, 1)], "partition 2 begins past the end"),
        ([(0x83, 0, 4096)], "partition 1 begins within the table"),
        ([(0x83, 2048, 0), (0x83, 4096, 512)], "partition 1 has no sectors"),
        ([], "no partitions"),
        ([(EXTENDED, 2048, 4096)], "no partitions"),
        ([(PROTECTIVE, 1, SIZE // 512 - 1)], "a protective MBR, and no GPT"),
        ([(PROTECTIVE, 1, 2047), (0x83, 2048, 512)], "a protective MBR, and no GPT"),
    ],
)
def test_a_table_that_lies_is_not_used(
    with_entries: Callable[..., Path], entries: list[tuple[int, int, int]], why: str
) -> None:
    found = find(with_entries(*entries))
    assert why in found.why
    assert found == Layout.whole(SIZE, why=found.why)


def test_a_partition_that_ends_past_the_end_is_cut(with_entries: Callable[..., Path]) -> None:
    found = find(with_entries((0x83, 2048, 2**31)))
    assert brief(found)[1:] == [(2048, SIZE // 512 - 2048, Role.PARTITION, 1)]
    assert "past the volume's end" in found.parts[1].why


def test_a_chain_of_logical_partitions_may_not_come_back(
    with_entries: Callable[..., Path],
) -> None:
    with_entries((EXTENDED, 2048, 40000))
    disk = with_entries((0x83, 2048, 100), (EXTENDED, 0, 100), at=2048)
    assert "overlap" in find(disk).why


@pytest.mark.parametrize(
    ("offset", "why"), [(512 + 60, "GPT is damaged, and only its backup"), (1024, "GPT is damaged")]
)
def test_a_damaged_gpt_is_not_used(disk: Path, offset: int, why: str) -> None:
    sfdisk(disk, "label: gpt\nsize=4M\n")
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(b"x")
    assert why in find(disk).why
    with open(disk, "r+b") as file:
        file.seek(SIZE - 512)
        file.write(bytes(512))
    assert find(disk).why


def test_a_damaged_backup_is_stored_as_it_is(disk: Path) -> None:
    sfdisk(disk, "label: gpt\nsize=4M\n")
    before = find(disk)
    with open(disk, "r+b") as file:
        file.seek(SIZE - 512)
        file.write(bytes(512))
    assert brief(find(disk)) == brief(before)


def test_a_gpt_of_a_larger_volume_is_not_used(disk: Path) -> None:
    sfdisk(disk, "label: gpt\nsize=4M\n")
    os.truncate(disk, SIZE // 2)
    assert "no GPT that fits" in find(disk).why


def test_a_table_of_another_system_is_not_used(disk: Path) -> None:
    sfdisk(disk, "label: sun\nsize=4M\n")
    assert "of the type 'sun'" in find(disk).why


def test_a_table_of_many_partitions_is_used_up_to_a_limit(disk: Path) -> None:
    entries = "".join(f"start={2048 + 8 * number},size=8\n" for number in range(129))
    sfdisk(disk, f"label: gpt\ntable-length: 140\n{entries}")
    assert "129 partitions" in find(disk).why
    sfdisk(disk, f"label: gpt\n{entries.partition('start=3072')[0]}")
    assert len(find(disk).parts) == 1 + 128 + 2


def test_sfdisk_that_hangs_is_not_waited_for(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sfdisk(disk, "label: dos\nsize=4M\n")
    fake = tmp_path / "bin" / "sfdisk"
    fake.parent.mkdir()
    monkeypatch.setattr(partitions, "_LIMIT", Limit(0.5, "check it", total=True))
    monkeypatch.setattr("volflow.host.privilege._PATH", f"{fake.parent}:{os.environ['PATH']}")
    for said, why in (
        ("exec sleep 600", "was ended after"),
        ("echo some trouble >&2; exit 1", "some trouble"),
        ("echo 3", "makes no sense"),
    ):
        fake.write_text(f"#!/bin/sh\n{said}\n")
        fake.chmod(0o700)
        assert why in find(disk).why


def test_a_device_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="could not be read"):
        layout.find(Privilege(), str(tmp_path / "none"))


@pytest.mark.parametrize("seed", range(8))
def test_random_tables_cover_every_byte_once(disk: Path, seed: int) -> None:
    drawn = random.Random(seed)
    size = drawn.randrange(4 * MIB, 200 * MIB, 512)
    os.truncate(disk, 0)
    os.truncate(disk, size)
    kind = drawn.choice(("dos", "gpt"))
    rows = [f"size={drawn.randrange(1, 4000)}" for _ in range(drawn.randrange(1, 4))]
    if kind == "dos" and drawn.random() < 0.7:
        logical = [f"size={drawn.randrange(1, 400)}" for _ in range(drawn.randrange(6))]
        rows += ["size=1M,type=5" if size < 8 * MIB else "size=4M,type=5", *logical]
    script = f"label: {kind}\n" + "\n".join(rows) + "\n"
    done = subprocess.run(
        ["sfdisk", "--quiet", "--force", disk], input=script, text=True, capture_output=True
    )
    found = find(disk)
    assert found.size == size
    assert found.table == kind or done.returncode or found.why
    for _ in range(4):
        with open(disk, "r+b") as file:
            # Where tables are: the entries of both kinds, the headers, the first logical ones.
            for _ in range(drawn.randrange(1, 5)):
                file.seek(drawn.choice((446, 454, 458, 512, 552, 1024, MIB, size - 512)))
                file.seek(drawn.randrange(64), os.SEEK_CUR)
                file.write(drawn.choice((b"\0", b"\xff", drawn.randbytes(4))))
            file.truncate(size)
        assert find(disk).size == size


@pytest.mark.parametrize("seed", range(6))
def test_random_boot_sectors_cover_every_byte_once(
    with_entries: Callable[..., Path], seed: int
) -> None:
    drawn = random.Random(seed)
    numbers = (0, 1, 63, 2048, 4096, 40000, 99999, 131071, 131072, 2**31, 2**32 - 1)
    kinds = (0, 1, 5, 0x0F, 0x83, 0x85, 0x8E, 0xA5, 0xEE)
    for _ in range(4):
        for at in (0, 2048, 4096):
            entries = [(drawn.choice(kinds), *drawn.sample(numbers, 2)) for _ in range(4)]
            disk = with_entries(*entries, at=at)
        assert find(disk).size == SIZE


def test_a_part_can_be_replaced_by_others(disk: Path) -> None:
    sfdisk(disk, "label: dos\nsize=4M\nsize=4M\n")
    found = find(disk)
    part = found.parts[2]
    half = part.size // 2
    volumes = [
        Part(part.start, half, Role.METADATA, part.number, "group"),
        Part(part.start + half, half, Role.VOLUME, part.number, "group/volume"),
    ]
    whole = found.split(part, volumes)
    assert [each.role for each in whole.parts[1:4]] == [
        *(Role.PARTITION, Role.METADATA, Role.VOLUME),
    ]
    for wrong in (volumes[:1], volumes[::-1], [*volumes, part], []):
        with pytest.raises(ValueError, match="cover"):
            found.split(part, wrong)


GOOD = Layout(
    2 * MIB, 512, "dos", parts=(Part(0, MIB, Role.TABLE), Part(MIB, MIB, Role.PARTITION, 1))
).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"size": 3 * MIB},
        {"size": True},
        {"size": "2097152"},
        {"size": -1, "parts": []},
        {"sector_size": 17},
        {"table": "sun"},
        {"table": 3},
        {"dump": "x" * 100_000},
        {"why": "x" * 100_000},
        {"table_id": None},
        {"parts": None},
        {"parts": []},
        {"parts": GOOD["parts"][:1]},
        {"parts": GOOD["parts"][::-1]},
        {"parts": [*GOOD["parts"], *GOOD["parts"]]},
        {"parts": [{**GOOD["parts"][0], "start": -512}, GOOD["parts"][1]]},
        {"parts": [{**GOOD["parts"][0], "size": 2.0 * MIB}]},
        {"parts": [{**GOOD["parts"][0], "size": 2 * MIB, "role": "king"}]},
        {"parts": [{**GOOD["parts"][0], "size": 2 * MIB, "name": "x" * 1000}]},
        {"parts": [{**GOOD["parts"][0], "size": 2 * MIB, "number": "1"}]},
        {"parts": [{"start": 0, "size": 2 * MIB}]},
        {"parts": [{**GOOD["parts"][0], "size": 1}, {**GOOD["parts"][1], "start": 1}]},
        {"parts": [5, "x"]},
    ],
)
def test_a_hostile_description_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Layout.from_dict({**GOOD, **change})


def test_unknown_values_of_a_later_release_are_ignored() -> None:
    part = {**GOOD["parts"][0], "size": 2 * MIB, "colour": "red"}
    found = Layout.from_dict({**GOOD, "parts": [part], "colour": "blue"})
    assert found.parts == (Part(0, 2 * MIB, Role.TABLE),)
    assert dataclasses.replace(found, why="").parts == found.parts
