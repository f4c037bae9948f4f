"""A disk with a partition table, as a guest uses it: made, described and compared."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import tree
from tests.support.cloud import Cloud, run
from volflow.disk.mapping import Mapping
from volflow.host.privilege import Privilege

MIB = 1024**2
_ME = Privilege(helper="")
_FILES = ("ext2", "ext3", "ext4", "xfs")


@dataclass(frozen=True)
class Seen:
    """What is on a disk.

    :ivar table: as ``sfdisk --dump`` prints it, without what names the device or depends on its
        size
    :ivar boot_code: the sectors before the first partition
    :ivar parts: the files of a partition with a file system, or the checksum of another one
    :ivar types: what blkid says of each partition
    """

    table: str
    boot_code: str
    parts: dict[int, Any] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)


def make(device: str, script: str, commands: dict[int, Sequence[str]]) -> None:
    """Write a partition table and fill partitions.

    :param script: for sfdisk
    :param commands: what makes the content of each partition, by number
    """
    subprocess.run(
        ["sfdisk", "-q", "--no-reread", "--no-tell-kernel", device],
        input=script,
        text=True,
        check=True,
    )
    for number, command in commands.items():
        with mapped(device, number) as found:
            run(*command, found.paths[0])


def places(device: str) -> dict[int, tuple[int, int]]:
    """The first byte and the bytes of each partition, by its number."""
    told = json.loads(run("sfdisk", "--json", device))["partitiontable"]
    unit = told["sectorsize"]
    return {
        int(re.search(r"\d+$", each["node"])[0]): (each["start"] * unit, each["size"] * unit)  # type: ignore[index]
        for each in told["partitions"]
    }


def mapped(device: str, number: int, *, read_only: bool = False) -> Mapping:
    """A loop device over a partition."""
    return Mapping(_ME, device, [places(device)[number]], read_only=read_only)


def fill(cloud: Cloud, device: str, number: int, do: Callable[[Path], Any]) -> None:
    """Call a function where a partition is mounted."""
    with mapped(device, number) as found:
        cloud.mounted(found.paths[0], do)


def see(cloud: Cloud, device: str) -> Seen:
    """Describe a disk."""
    parts: dict[int, Any] = {}
    types: dict[int, str] = {}
    known = places(device)
    for number in known:
        with mapped(device, number, read_only=True) as found:
            path = found.paths[0]
            done = subprocess.run(
                ["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "UUID", path],
                capture_output=True,
                text=True,
                check=False,
            )
            types[number] = done.stdout
            if done.stdout.split("\n")[-2:-1] and any(kind in done.stdout for kind in _FILES):
                parts[number] = cloud.mounted(path, tree.describe, read_only=True)
            else:
                parts[number] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    first = min(start for start, _ in known.values())
    with open(device, "rb") as file:
        boot_code = file.read(440) + file.read(first)[34 * 512 - 440 :]
    table = run("sfdisk", "--dump", device)
    table = re.sub(r"(?m)^(device|last-lba|\S+\d+ : ).*?(?=$|start=)", "", table)
    return Seen(table, hashlib.sha256(boot_code).hexdigest(), parts, types)


def assert_same(before: Seen, after: Seen) -> None:
    """Fail with what differs."""
    assert before.table == after.table
    assert before.types == after.types
    assert before.boot_code == after.boot_code
    for number, part in before.parts.items():
        if isinstance(part, str):
            assert part == after.parts[number], f"partition {number} has other bytes"
        else:
            tree.assert_same(part, after.parts[number])
