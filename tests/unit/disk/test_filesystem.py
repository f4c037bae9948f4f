"""File systems are identified without guessing, and made again with the same parameters."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from volflow.disk import filesystem
from volflow.errors import DiskError
from volflow.host.privilege import Privilege, find_program

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="without sudo, probing is for root alone"),
    pytest.mark.skipif(
        not all(map(find_program, ("blkid", "mkfs.ext4", "mkfs.xfs", "mkswap"))),
        reason="blkid, mkfs.ext4, mkfs.xfs or mkswap is not installed",
    ),
]

# XFS needs at least 300 MiB.
SIZE = 320 * 1024**2
UUID = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty disk: a sparse file."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(SIZE)
    return path


def run(*command: str | Path) -> str:
    program, *arguments = map(str, command)
    found = find_program(program)
    assert found
    return subprocess.run(
        [found, *arguments], check=True, capture_output=True, encoding="utf-8"
    ).stdout


def probe(disk: Path) -> filesystem.FileSystem:
    return filesystem.probe(Privilege(), str(disk))


def features(disk: Path) -> set[str]:
    text = run("dumpe2fs", "-h", disk)
    line = next(line for line in text.splitlines() if line.startswith("Filesystem features"))
    return set(line.partition(":")[2].split())


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-b", "1024", "-I", "256", "-O", "^has_journal,inline_data"],
        ["-m", "0", "-i", "65536", "-O", "^64bit,^metadata_csum"],
    ],
    ids=str,
)
def test_ext4_is_made_again_with_its_parameters(
    tmp_path: Path, disk: Path, options: list[str]
) -> None:
    run("mkfs.ext4", "-q", "-F", "-U", UUID, "-L", "a b", *options, disk)
    found = probe(disk)
    assert (found.type, found.uuid, found.label) == ("ext4", UUID, "a b")

    other = tmp_path / "other"
    with open(other, "wb") as file:
        file.truncate(SIZE)
    found.make(Privilege(), str(other))
    again = probe(other)
    # mkfs rounds these to whole blocks and inodes.
    for name in ("reserved_percent", "bytes_per_inode"):
        value = float(found.parameters.pop(name))
        assert float(again.parameters.pop(name)) == pytest.approx(value, rel=0.05)
    assert again == found
    assert features(other) == features(disk)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-b", "size=1024", "-i", "size=512"],
        ["-m", "rmapbt=1,reflink=0", "-i", "sparse=0"],
        ["-m", "crc=0,finobt=0"],
    ],
    ids=str,
)
def test_xfs_is_made_again_with_its_parameters(
    tmp_path: Path, disk: Path, options: list[str]
) -> None:
    run("mkfs.xfs", "-q", "-f", "-L", "label", *options, disk)
    found = probe(disk)
    assert (found.type, found.label) == ("xfs", "label")

    other = tmp_path / "other"
    with open(other, "wb") as file:
        file.truncate(2 * SIZE)
    found.make(Privilege(), str(other))
    again = probe(other)
    assert again.size == 2 * found.size == 2 * int(found.parameters.pop("size"))
    again.parameters.pop("size")
    assert again == found


@pytest.mark.parametrize("label", ["", "a'b", "with\\slash", 'q"x', "$x `y`", "é☃"])
def test_odd_labels_are_kept(disk: Path, label: str) -> None:
    run("mkfs.ext4", "-q", "-F", "-L", label, disk)
    assert probe(disk).label == label


def test_an_empty_device_is_refused(disk: Path) -> None:
    with pytest.raises(DiskError, match="has no known file system: is it formatted"):
        probe(disk)


def test_swap_is_refused(disk: Path) -> None:
    run("mkswap", disk)
    with pytest.raises(DiskError, match=r"has 'swap'.* it supports ext4 and xfs"):
        probe(disk)


@pytest.mark.parametrize("kind", ["ext2", "ext3"])
def test_ext2_and_ext3_are_refused(disk: Path, kind: str) -> None:
    run("mkfs.ext4", "-q", "-F", "-t", kind, disk)
    with pytest.raises(DiskError, match=f"has '{kind}'"):
        probe(disk)


def _write(disk: Path, offset: int, data: bytes) -> None:
    with open(disk, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_partition_table_is_refused(disk: Path) -> None:
    _write(disk, 446, struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0x83, 0, 0, 0, 2048, 100_000))
    _write(disk, 510, b"\x55\xaa")
    with pytest.raises(DiskError, match=r"has a partition table \(dos\)"):
        probe(disk)


def test_luks_is_refused(disk: Path) -> None:
    header = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    header += b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    _write(disk, 0, header)
    _write(disk, 168, UUID.encode().ljust(40, b"\0"))
    with pytest.raises(DiskError, match="has 'crypto_LUKS'"):
        probe(disk)


def test_two_file_systems_at_once_are_refused(disk: Path) -> None:
    """volflow must not choose one of them."""
    run("mkfs.ext4", "-q", "-F", disk)
    with open(disk, "rb") as file:
        superblock = file.read(2048)[1024:]
    run("mkfs.xfs", "-q", "-f", disk)
    _write(disk, 1024, superblock)
    with pytest.raises(DiskError, match="signatures of several file systems"):
        probe(disk)


def test_what_cannot_be_probed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiskError):
        probe(tmp_path / "nothing")


def test_nothing_on_a_volume_can_act_on_this_host(disk: Path) -> None:
    run("mkfs.xfs", "-q", "-f", disk)
    for read_only in (True, False):
        options = probe(disk).mount_options(read_only=read_only)
        assert {"nosuid", "nodev", "noexec", "nouuid"} <= set(options)
        assert ("ro" in options) is read_only
