"""A volume without a known file system fails after it is attached, and stays unchanged."""

from __future__ import annotations

import json
import os
import re
import struct
from typing import Any

import pytest

from tests.support.cloud import run
from tests.support.ground import Ground

pytestmark = pytest.mark.lab


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


DISKS = {
    "empty": (lambda device: None, "has no known file system: is it formatted"),
    "swap": (lambda device: run("mkswap", device), "has 'swap', which volflow does not support"),
    "partitions": (_mbr, "has a partition table .dos."),
    "luks": (_luks, "has 'crypto_LUKS', which volflow does not support"),
    "noise": (lambda device: _write(device, 0, os.urandom(65536)), "has no known file system"),
    "ext3": (
        lambda device: run("mkfs.ext3", "-q", "-F", device),
        "has 'ext3', which volflow does not support; it supports ext4 and xfs",
    ),
}


@pytest.fixture(scope="module")
def odd_disks(ground: Ground) -> dict[str, Any]:
    """The result of a run over volumes without a known file system."""
    volumes = {}
    for name, (make, _) in DISKS.items():
        volumes[name] = ground.site.cloud.create(name=f"disk {name}")
        with ground.site.cloud.attached(volumes[name]) as device:
            make(device)
    before = {name: ground.site.cloud.show(volume) for name, volume in volumes.items()}
    done = ground.site.cli("backup", "create", *volumes.values(), "good", "-f", "json")
    return {
        "done": done,
        "findings": [str(finding) for finding in ground.site.findings()],
        "results": {each["volume_id"]: each for each in json.loads(done.stdout)},
        "volumes": volumes,
        "before": before,
        "after": {name: ground.site.cloud.show(volume) for name, volume in volumes.items()},
    }


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_without_a_known_file_system_fails(odd_disks: dict[str, Any], disk: str) -> None:
    result = odd_disks["results"][odd_disks["volumes"][disk]]
    assert result["outcome"] == "failed"
    assert re.search(DISKS[disk][1], result["error"]), result["error"]
    assert result["backup_id"] is None
    assert result["leftovers"] == []
    assert odd_disks["after"][disk] == odd_disks["before"][disk]


def test_disks_that_fail_do_not_harm_other_volumes(
    ground: Ground, odd_disks: dict[str, Any]
) -> None:
    assert odd_disks["done"].returncode == 1
    assert "Traceback" not in odd_disks["done"].stderr
    assert odd_disks["findings"] == []
    assert odd_disks["results"][ground.volume]["outcome"] == "complete"
