"""No description can add an option to the command that creates a file system."""

from __future__ import annotations

from typing import Any

import pytest

from volflow.disk.description import word
from volflow.disk.filesystem import FileSystem
from volflow.errors import DiskError

XFS = {"data.bsize": "4096", "data.blocks": "81920", "meta-data.isize": "512"}
RESERVED = {
    "Compatible features": "resize_inode",
    "Reserved GDT blocks": "9",
    "Blocks per group": "8192",
    "First block": "0",
}
EXT4 = {"Block size": "4096", "Block count": "81920", "Inode count": "20480"}


def test_a_word_is_taken_as_it_is() -> None:
    assert word({"a": "utf8-12.1"}, "a") == "utf8-12.1"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("xfs", "log.lazy-count"),
        ("xfs", "log.version"),
        ("xfs", "data.imaxpct"),
        ("xfs", "meta-data.reflink"),
        ("ext4", "RAID stride"),
        ("ext4", "Directory Hash Seed"),
    ],
)
def test_a_value_cannot_add_an_option(kind: str, name: str) -> None:
    parameters = {**(XFS if kind == "xfs" else EXT4), name: "1,logdev=/dev/sda"}
    found = FileSystem(kind, "", parameters=parameters)
    with pytest.raises(DiskError, match=f"its {name} is '1,logdev=/dev/sda'"):
        found.mkfs("/dev/x", 2**30)


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_description_that_lacks_something_is_refused(kind: str) -> None:
    with pytest.raises(DiskError, match=f"does not describe its {kind} completely"):
        FileSystem(kind, "").mkfs("/dev/x", 2**30)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("ext4", {"Block size": 4096}),
        ("ext4", {"Block count": "many"}),
        ("xfs", {"data.bsize": "-1"}),
    ],
)
def test_a_value_of_the_wrong_kind_is_no_description(kind: str, parameters: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match="of the file system is no"):
        FileSystem.from_dict({"type": kind, "uuid": "", "parameters": parameters})


def test_a_size_of_zero_is_refused() -> None:
    found = FileSystem("ext4", "", parameters={**EXT4, "Block size": "0", **RESERVED})
    with pytest.raises(DiskError, match="does not describe its ext4 completely"):
        found.mkfs("/dev/x", 0)


def test_a_uuid_cannot_add_an_option() -> None:
    with pytest.raises(DiskError, match="its UUID is 'a,name=/dev/sda'"):
        FileSystem("xfs", "a,name=/dev/sda", parameters=XFS).mkfs("/dev/x", 2**30)
