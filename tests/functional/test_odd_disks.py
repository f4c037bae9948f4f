"""A volume without a file system that can be read is stored as an image, bit for bit."""

from __future__ import annotations

import json
import os
import re
import struct
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cloud import run
from tests.support.ground import Ground

pytestmark = pytest.mark.lab

GIB = 1024**3


def _mbr(device: str) -> None:
    """A partition table with one Linux partition."""
    entry = struct.pack("<BBBBBBBBII", 0x80, 0, 2, 0, 0x83, 0, 0, 0, 2048, 1_000_000)
    _write(device, 446, entry)
    _write(device, 510, b"\x55\xaa")


def _luks(device: str) -> None:
    """The part of a LUKS1 header that identifies it."""
    text = b"LUKS\xba\xbe" + struct.pack(">H", 1)
    text += b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0") + b"sha256".ljust(32, b"\0")
    _write(device, 0, text)
    _write(device, 168, b"cafe0000-0000-4000-8000-000000000001".ljust(40, b"\0"))


def _write(device: str, offset: int, data: bytes) -> None:
    with open(device, "r+b") as file:
        file.seek(offset)
        file.write(data)


def _ext4(spoil: Callable[[str], object]) -> Callable[[str], object]:
    """Something that is done to an ext4."""

    def make(device: str) -> None:
        run("mkfs.ext4", "-q", "-F", device)
        spoil(device)

    return make


def _xfs(spoil: Callable[[str], object]) -> Callable[[str], object]:
    """Something that is done to an XFS."""

    def make(device: str) -> None:
        run("mkfs.xfs", "-q", "-f", device)
        spoil(device)

    return make


def _two(device: str) -> None:
    """An XFS whose sectors leave room for the superblock of the ext4 that was there."""
    run("mkfs.ext4", "-q", "-F", device)
    with open(device, "rb") as file:
        file.seek(1024)
        superblock = file.read(1024)
    run("mkfs.xfs", "-q", "-f", "-s", "size=4096", device)
    _write(device, 1024, superblock)


def _no_tree(device: str) -> None:
    """A directory with two names: with a few of them, a program would meet billions of paths."""
    run("mkfs.ext4", "-q", "-F", device)
    for command in ("mkdir one", "ln one other"):
        run("debugfs", "-w", "-R", command, device)


def _external_log(device: str) -> None:
    with tempfile.NamedTemporaryFile() as log:
        log.truncate(128 * 1024**2)
        run("mkfs.xfs", "-q", "-f", "-l", f"logdev={log.name},size=64m", device)


# What the remark says of the image, and why it is one.
DISKS: dict[str, tuple[Callable[[str], object], str]] = {
    "empty": (lambda device: None, "the whole volume$"),
    "swap": (lambda device: run("mkswap", device), "the whole volume .swap.$"),
    "luks": (_luks, "the whole volume .crypto_LUKS.$"),
    "noise": (lambda device: _write(device, 0, os.urandom(65536)), "the whole volume$"),
    "unknown feature of ext4": (
        _ext4(lambda device: run("debugfs", "-w", "-R", "feature FEATURE_I20", device)),
        "does not know the feature FEATURE_I20",
    ),
    "luks over ext4": (_ext4(_luks), "ext4 at offset 1080, and also crypto_LUKS at offset 0"),
    "partitions over ext4": (_ext4(_mbr), "it has a partition table, and also ext4 at offset 1080"),
    "two file systems": (_two, "several file systems: xfs at offset 0, ext4 at offset 1080"),
    "mount options": (
        _ext4(lambda device: run("tune2fs", "-E", "mount_opts=noload", device)),
        "asks for mount options that volflow does not accept: noload",
    ),
    "external log": (_external_log, "log of the volume's xfs is on another device"),
    "torn superblock": (
        _xfs(lambda device: _write(device, 200, bytes(16))),
        "The xfs of the volume is damaged: the checksum of its superblock is wrong",
    ),
    "unknown feature": (
        _xfs(
            lambda device: run(
                *("xfs_db", "-x", "-c", "sb 0", "-c"),
                *("write -d features_incompat 0x4000000b", device),
            )
        ),
        "FEATURE_I30|newer xfsprogs",
    ),
    "no tree": (_no_tree, "is damaged: the directory '/(one|other)' is also at another path"),
    "no root": (
        _xfs(lambda device: run("xfs_db", "-x", "-c", "sb 0", "-c", "write -d rootino 99", device)),
        "The xfs is damaged: run 'xfs_repair' in the guest.* kernel said: XFS",
    ),
}
# Its files are stored, and its table is an image.
PARTITIONED = "partitions"


@pytest.fixture(scope="module")
def odd_disks(ground: Ground) -> dict[str, Any]:
    """The result of a run over volumes without a known file system."""
    volumes, cloud = {}, ground.site.cloud
    for name, make in {**{name: one[0] for name, one in DISKS.items()}, PARTITIONED: _mbr}.items():
        volumes[name] = cloud.create(name=f"disk {name}")
        with cloud.attached(volumes[name]) as device:
            make(device)
    before = {name: cloud.show(volume) for name, volume in volumes.items()}
    done = ground.site.cli("backup", "create", *volumes.values(), "good", "-f", "json")
    after = {name: cloud.show(volume) for name, volume in volumes.items()}
    findings = [str(finding) for finding in ground.site.findings()]
    restored = ground.site.cli(
        *("restore", "create", *volumes.values(), "--new", "--verify", "--yes", "-f", "json")
    )
    assert restored.returncode == 0, restored.stderr
    return {
        "done": done,
        "findings": findings,
        "results": {each["volume_id"]: each for each in json.loads(done.stdout)},
        "restored": {
            each["volume_id"]: cloud.adopt(each["target_id"])
            for each in json.loads(restored.stdout)
        },
        "volumes": volumes,
        "before": before,
        "after": after,
    }


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_without_a_readable_file_system_is_an_image(
    ground: Ground, odd_disks: dict[str, Any], disk: str
) -> None:
    volume_id = odd_disks["volumes"][disk]
    result = odd_disks["results"][volume_id]
    assert result["outcome"] == "complete", result["error"]
    (told,) = (one for one in result["remarks"] if "stored as an image" in one)
    assert re.search(DISKS[disk][1], told), told
    assert result["leftovers"] == []
    assert odd_disks["after"][disk] == odd_disks["before"][disk]
    require_same_bytes(ground, volume_id, odd_disks["restored"][volume_id])


def test_a_partition_without_a_file_system_is_an_image_beside_its_table(
    ground: Ground, odd_disks: dict[str, Any]
) -> None:
    volume_id = odd_disks["volumes"][PARTITIONED]
    result = odd_disks["results"][volume_id]
    assert result["outcome"] == "complete", result["error"]
    assert result["remarks"] == ["stored as an image, not as files: partition 1"]
    require_same_bytes(ground, volume_id, odd_disks["restored"][volume_id])


def require_same_bytes(ground: Ground, one: str, other: str) -> None:
    cloud = ground.site.cloud
    with cloud.attached(one) as first, cloud.attached(other) as second:
        run("cmp", first, second)


# Whole file systems with marks in their data or a boot sector, and what the remark says.
MARKED: dict[str, tuple[Callable[[str], object], str]] = {
    "iso9660 in xfs": (
        _xfs(lambda device: _write(device, 32768, b"\x01CD001\x01")),
        "xfs at offset 0, whose superblock is sound; .* iso9660 at offset 32769",
    ),
    "luks in xfs": (
        _xfs(lambda device: _write(device, 16384, b"SKUL\xba\xbe\x00\x02")),
        "crypto_LUKS at offset 16384",
    ),
    "raid in ext4": (
        _ext4(lambda device: _write(device, GIB - 65536, b"\xfc\x4e\x2b\xa9" + bytes(4))),
        "linux_raid_member at offset 1073676288",
    ),
    "btrfs in ext4": (
        _ext4(lambda device: _write(device, 65600, b"_BHRfS_M")),
        "btrfs at offset 65600",
    ),
    "boot sector": (
        _ext4(lambda device: _write(device, 510, b"\x55\xaa")),
        "partition table .dos at offset 510. without partitions",
    ),
    "errors": (
        _ext4(lambda device: run("debugfs", "-w", "-R", "set_super_value state 2", device)),
        "the kernel of a guest has found errors in the ext4",
    ),
}


def test_marks_in_the_data_do_not_prevent_a_backup(ground: Ground) -> None:
    volumes = {}
    for name, (make, _) in MARKED.items():
        volumes[name] = ground.site.cloud.create(name=f"disk {name}")
        with ground.site.cloud.attached(volumes[name]) as device:
            make(device)
    done = ground.site.cli("backup", "create", *volumes.values(), "-f", "json")
    results = {each["volume_id"]: each for each in json.loads(done.stdout)}
    for name, (_, told) in MARKED.items():
        result = results[volumes[name]]
        assert result["outcome"] == "complete", result["error"]
        assert any(re.search(told, remark) for remark in result["remarks"]), result["remarks"]
    assert ground.site.findings() == []


def test_odd_disks_do_not_harm_other_volumes(ground: Ground, odd_disks: dict[str, Any]) -> None:
    assert odd_disks["done"].returncode == 0
    assert "Traceback" not in odd_disks["done"].stderr
    assert odd_disks["findings"] == []
    assert odd_disks["results"][ground.volume]["outcome"] == "complete"
