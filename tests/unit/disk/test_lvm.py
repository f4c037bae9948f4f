"""Linear logical volumes are ranges of their physical volume."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab import loop
from tests.support import lvm_disks, namespaces
from tests.support.lvm_disks import EXTENT, Segments
from volflow.disk import lvm, lvm_areas
from volflow.disk.layout import Layout, Part, Role
from volflow.disk.mapping import Mapping
from volflow.errors import DiskError
from volflow.host.privilege import Privilege, find_program

pytestmark = [
    pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing()),
    pytest.mark.skipif(not find_program("vgcfgrestore"), reason="lvm2 is not installed"),
    pytest.mark.heavy,
]

MIB = 1024**2
SIZE = 200 * MIB
# The first extent of a physical volume, by default.
FIRST = MIB
DEBIAN = {"root": [(0, 10)], "swap_1": [(10, 3)], "home": [(20, 20)]}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


@pytest.fixture
def device(disk: Path) -> Iterator[str]:
    with loop.held(disk) as path:
        yield str(path)


@pytest.fixture
def made(device: str) -> Callable[..., str]:
    def make(volumes: dict[str, Segments], *options: str) -> str:
        lvm_disks.group(device, "debian-vg", volumes, *options)
        os.sync()
        return device

    return make


def find(device: str | Path, start: int = 0, size: int = SIZE) -> tuple[Part, ...] | str:
    return lvm.find(Privilege(), str(device), start, size)


def why(device: str | Path) -> str:
    found = find(device)
    assert isinstance(found, str)
    return found


def test_linear_volumes_and_all_the_rest_cover_the_disk(made: Callable[..., str]) -> None:
    found = find(made(DEBIAN))
    assert found == (
        Part(0, FIRST, Role.METADATA),
        Part(FIRST, 10 * EXTENT, Role.VOLUME, name="debian-vg/root"),
        Part(FIRST + 10 * EXTENT, 3 * EXTENT, Role.VOLUME, name="debian-vg/swap_1"),
        Part(FIRST + 13 * EXTENT, 7 * EXTENT, Role.METADATA),
        Part(FIRST + 20 * EXTENT, 20 * EXTENT, Role.VOLUME, name="debian-vg/home"),
        Part(FIRST + 40 * EXTENT, SIZE - FIRST - 40 * EXTENT, Role.METADATA),
    )
    layout = Layout.whole(SIZE)
    assert layout.split(layout.parts[0], found).parts == found


def test_lvm_itself_sees_the_same_places(made: Callable[..., str]) -> None:
    device = made(DEBIAN, "--metadatacopies", "2", "--dataalignment", "2m")
    report = lvm_disks.lvm(
        *("lvs", device, "--noheadings", "--units", "b", "--nosuffix"),
        *("-o", "vg_name,lv_name,seg_type,seg_start_pe,seg_pe_ranges,lv_size", "--separator", " "),
    )
    rows = [row.split() for row in report.splitlines()]
    found = [each for each in find(device) if isinstance(each, Part)]
    volumes = {each.name: each for each in found if each.role == Role.VOLUME}
    assert len(volumes) == len(rows) == 3
    for group, name, kind, _, place, size in rows:
        first = int(place.partition(":")[2].partition("-")[0])
        assert kind == "linear"
        part = volumes[f"{group}/{name}"]
        assert (part.start, part.size) == (2 * MIB + first * EXTENT, int(size))


def test_a_physical_volume_can_be_a_partition(made: Callable[..., str], tmp_path: Path) -> None:
    disk = tmp_path / "outer"
    with open(made(DEBIAN), "rb") as inner, open(disk, "wb") as outer:
        outer.seek(3 * MIB)
        outer.write(inner.read())
        outer.truncate(SIZE + 8 * MIB)
    found = find(disk, 3 * MIB)
    assert found[0] == Part(3 * MIB, FIRST, Role.METADATA)
    assert found[1] == Part(4 * MIB, 10 * EXTENT, Role.VOLUME, name="debian-vg/root")


def test_a_logical_volume_can_be_mapped_and_used(made: Callable[..., str], disk: Path) -> None:
    found = find(made(DEBIAN))
    root = found[1]
    assert isinstance(root, Part)
    with Mapping(Privilege(), str(disk), [(root.start, root.size)], read_only=False) as mapped:
        run = Privilege().run
        run("mkfs.ext4", "-q", "-F", "-L", "root", mapped.paths[0])
        assert "LABEL=root" in run("blkid", "--probe", "--output", "export", mapped.paths[0])
    assert isinstance(find(disk), tuple)


def test_a_change_in_the_ring_of_metadata_is_seen(made: Callable[..., str]) -> None:
    # The area of some kilobytes overflows several times.
    device = made(DEBIAN, "--metadatasize", "8k")
    for number in range(12):
        old, new = ("home {", "data {") if number % 2 == 0 else ("data {", "home {")
        lvm_disks.change(device, "debian-vg", old, new)
        found = find(device)
        assert isinstance(found, tuple)
        assert found[4].name == f"debian-vg/{new[:4]}"


def test_the_second_copy_is_used_where_the_first_is_damaged(
    made: Callable[..., str], disk: Path
) -> None:
    made(DEBIAN, "--metadatacopies", "2")
    before = find(disk)
    with open(disk, "r+b") as file:
        file.seek(4096)
        file.write(bytes(512))
    assert find(disk) == before
    assert isinstance(before, tuple)


def test_pieces_that_follow_each_other_are_one(made: Callable[..., str]) -> None:
    found = find(made({"root": [(2, 3), (5, 4)]}))
    assert found[1] == Part(FIRST + 2 * EXTENT, 7 * EXTENT, Role.VOLUME, name="debian-vg/root")


def test_a_volume_in_several_pieces_stays_in_one_image(made: Callable[..., str]) -> None:
    said = why(made({"root": [(0, 3), (9, 4)]}))
    assert said == "the logical volume root is in several pieces"


def test_a_group_without_volumes_stays_in_one_image(made: Callable[..., str]) -> None:
    assert why(made({})) == "it has no logical volumes"


def test_a_disk_of_no_group_stays_in_one_image(device: str) -> None:
    lvm_disks.lvm("pvcreate", device, device)
    assert "belongs to no volume group" in why(device)


def test_a_disk_without_label_stays_in_one_image(disk: Path) -> None:
    assert why(disk) == "it has no sound LVM label"
    os.truncate(disk, 700)
    assert find(disk, 0, 700) == "it has no sound LVM label"


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The first bytes of a disk: everything but the logical volumes."""
    disk = tmp_path_factory.mktemp("lvm") / "disk"
    with open(disk, "wb") as file:
        file.truncate(SIZE)
    with loop.held(disk) as device:
        lvm_disks.group(str(device), "debian-vg", DEBIAN)
    return disk.read_bytes()[:FIRST]


def write(disk: Path, data: bytes) -> Path:
    with open(disk, "r+b") as file:
        file.write(data)
    return disk


def rewritten(disk: Path, metadata: bytes, old: str, new: str) -> Path:
    """Replace a text in the metadata, with its length and checksums made right again."""
    data = bytearray(metadata)
    offset, count = (int.from_bytes(data[4096 + at : 4104 + at], "little") for at in (40, 48))
    text = bytes(data[4096 + offset : 4096 + offset + count]).rstrip(b"\0").decode()
    assert old in text
    new_text = text.replace(old, new).encode() + b"\0"
    data[4096 + offset : 4096 + offset + len(new_text)] = new_text
    data[4144:4152] = len(new_text).to_bytes(8, "little")
    data[4152:4156] = lvm_areas.crc(new_text).to_bytes(4, "little")
    data[4096:4100] = lvm_areas.crc(bytes(data[4100:4608])).to_bytes(4, "little")
    return write(disk, data)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('type = "striped"', 'type = "thin"', "of the type 'thin', not linear"),
        ('type = "striped"', 'type = ["raid1"]', "not linear"),
        ("stripe_count = 1", "stripe_count = 2", "striped over several places, not linear"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = ["pv1", 0]', "not on the physical volume"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = [\n"pv0", "0"\n]', "make no sense"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = [\n"pv0", -1\n]', "not on the physical volume"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = [\n"pv0", 45\n]', "not on the physical volume"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = [\n"pv0", 5\n]', "covers something else"),
        ('stripes = [\n"pv0", 0\n]', "stripes = 3", "not on the physical volume"),
        ('stripes = [\n"pv0", 0\n]', 'stripes = ["pv0", 0', "cannot be read"),
        ("extent_count = 10\n", "extent_count = 99999999999999999999\n", "no sound 'extent_count'"),
        ("extent_count = 10\n", "extent_count = 0\n", "not on the physical volume"),
        ("segment_count = 1", "segment_count = 9999999", "has 9999999 pieces"),
        ("segment_count = 1", "segment_count = 2", "no 'segment2'"),
        ('"VISIBLE"]', '"VISIBLE", "LOCKED"]', "not a plain one: LOCKED"),
        (', "VISIBLE"]', "]", "not a plain one: hidden"),
        ("extent_size = 8192", "extent_size = 99999999", "more space than there is"),
        ("extent_size = 8192", "extent_size = 0", "more space than there is"),
        ("pe_start = 2048", "pe_start = 0", "covers something else"),
        ("pe_start = 2048", "pe_start = 8", "covers something else"),
        ("pe_count = ", "pe_count = 9", "more space than there is"),
        ("pv0 {", 'pv1 { id = "x" }\npv0 {', "2 physical volumes"),
        ('pv0 {\nid = "', 'pv0 {\nid = "x', "is another one"),
        ("root {", "ro\x1bot {", "makes no sense"),
        ("root {", "root { a { b { c { d { e {", "cannot be read"),
        ("home {", "root {", "cannot be read"),
        ('format = "lvm2"', 'format = "lvm1"', "another format"),
        ("debian-vg {", "x { }\ndebian-vg {", "not that of one volume group"),
    ],
)
def test_what_is_not_plainly_linear_stays_in_one_image(
    disk: Path, metadata: bytes, old: str, new: str, said: str
) -> None:
    assert said in why(rewritten(disk, metadata, old, new))


def test_many_volumes_stay_in_one_image(disk: Path, metadata: bytes) -> None:
    more = "".join(f"v{number} {{ }}\n" for number in range(300))
    assert "303 logical volumes" in why(rewritten(disk, metadata, "root {", f"{more}root {{"))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (512 + 40, 512 + 41, "no sound LVM label"),
        (4096 + 30, 4096 + 31, "checksum of a metadata area"),
        (4096 + 512, FIRST, "checksum of the metadata"),
    ],
)
def test_damaged_metadata_stays_in_one_image(
    disk: Path, metadata: bytes, start: int, end: int, said: str
) -> None:
    damaged = metadata[:start] + b"\xa5" * (end - start) + metadata[end:]
    assert said in why(write(disk, damaged))


@pytest.mark.parametrize("seed", range(10))
def test_random_damage_never_stops_a_backup(disk: Path, metadata: bytes, seed: int) -> None:
    drawn = random.Random(seed)
    data = bytearray(rewritten(disk, metadata, "root {", "root {").read_bytes()[:FIRST])
    offset, count = (int.from_bytes(data[4096 + at : 4104 + at], "little") for at in (40, 48))
    for _ in range(drawn.randrange(1, 4)):
        at = 4096 + offset + drawn.randrange(count - 1)
        data[at : at + 1] = drawn.choice((b"9", b"{", b"}", b'"', b"[", drawn.randbytes(1)))
    text = bytes(data[4096 + offset : 4096 + offset + count])
    data[4152:4156] = lvm_areas.crc(text).to_bytes(4, "little")
    data[4096:4100] = lvm_areas.crc(bytes(data[4100:4608])).to_bytes(4, "little")
    found = find(write(disk, data))
    if not isinstance(found, str):
        whole = Layout.whole(SIZE)
        whole.split(whole.parts[0], found)


def test_a_device_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="could not be read"):
        lvm.find(Privilege(), str(tmp_path / "none"), 0, SIZE)
