"""Ranges of a device are loop devices for as long as a mapping is open."""

from __future__ import annotations

import fcntl
import logging
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import loop
from tests.support import namespaces
from tests.support.waiting import until
from volflow.disk import looping, mapping
from volflow.disk.mapping import Mapping
from volflow.errors import HostError
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege

pytestmark = [
    pytest.mark.skipif(bool(namespaces.missing()), reason=namespaces.missing()),
    pytest.mark.heavy,
]

MIB = 1024**2
SIZE = 8 * MIB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file of random bytes. No loop device is bound to it at the end."""
    path = tmp_path / "disk"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    yield path
    until(lambda: not loop.of_file(path), 20)


@pytest.fixture
def device(disk: Path) -> Iterator[str]:
    """A block device, as a volume is."""
    with loop.held(disk) as path:
        yield str(path)


def mapped(device: str | Path, *ranges: tuple[int, int], read_only: bool = True) -> Mapping:
    return Mapping(Privilege(), str(device), ranges, read_only=read_only)


def attribute(path: str, name: str) -> str:
    return Path(f"/sys/block/{Path(path).name}/{name}").read_text().strip()


def protect(path: str, read_only: bool) -> None:
    """Set the flag of a block device that outlives what is bound to it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, 0x125D, struct.pack("i", read_only))
    finally:
        os.close(descriptor)


def test_each_loop_device_shows_exactly_its_range(disk: Path, device: str) -> None:
    content = disk.read_bytes()
    ranges = [(0, 512), (512, MIB), (3 * MIB + 1536, 2 * MIB - 512), (SIZE - 1024, 1024)]
    with mapped(device, *ranges) as found:
        assert len(set(found.paths)) == len(ranges)
        for path, (start, size) in zip(found.paths, ranges, strict=True):
            assert Path(path).read_bytes() == content[start : start + size]
            assert attribute(path, "ro") == "1"
            assert attribute(path, "loop/partscan") == "0"
            with pytest.raises(OSError, match=r"not permitted|Read-only"):
                Path(path).write_bytes(b"x" * 512)
    assert found.remaining == []
    assert disk.read_bytes() == content


def test_what_is_written_stays_within_its_range(disk: Path, device: str) -> None:
    content = disk.read_bytes()
    with mapped(device, (MIB, 4096), read_only=False) as found:
        (path,) = found.paths
        assert attribute(path, "ro") == "0"
        descriptor = os.open(path, os.O_RDWR)
        try:
            assert os.pwrite(descriptor, b"y" * 8192, 0) == 4096
            with pytest.raises(OSError, match="No space"):
                os.pwrite(descriptor, b"y", 4096)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with open(device, "rb") as whole:
            whole.seek(MIB)
            assert whole.read(4096) == b"y" * 4096
    assert disk.read_bytes() == content[:MIB] + b"y" * 4096 + content[MIB + 4096 :]


def test_a_loop_device_that_was_read_only_becomes_writable(disk: Path) -> None:
    with mapped(disk, (0, MIB)) as found:
        (path,) = found.paths
        protect(path, True)
    try:
        # Usually it is the same loop device.
        with mapped(disk, (0, MIB), read_only=False) as found:
            assert attribute(found.paths[0], "ro") == "0"
    finally:
        protect(path, False)


def test_what_was_mapped_read_only_leaves_no_flag(disk: Path) -> None:
    with mapped(disk, (0, MIB)) as found:
        assert attribute(found.paths[0], "ro") == "1"
    with loop.held(disk) as path:
        assert attribute(str(path), "ro") == "0"


def test_sectors_can_have_four_kilobytes(disk: Path) -> None:
    with Mapping(Privilege(), str(disk), [(MIB, MIB)], read_only=True, sector_size=4096) as found:
        assert attribute(found.paths[0], "queue/logical_block_size") == "4096"
    ranges = [(MIB, MIB), (SIZE - 512, 512)]
    with Mapping(Privilege(), str(disk), ranges, read_only=True, sector_size=4096) as found:
        sizes = [attribute(path, "queue/logical_block_size") for path in found.paths]
        assert sizes == ["4096", "512"]
    with pytest.raises(HostError, match="sectors of 8192"):
        Mapping(Privilege(), str(disk), [(0, MIB)], read_only=True, sector_size=8192)


@pytest.mark.parametrize(
    ("start", "size"), [(0, SIZE + 512), (SIZE, 512), (1, 512), (0, 511), (0, 0), (-512, 512)]
)
def test_a_range_that_is_not_on_the_device_is_refused(disk: Path, start: int, size: int) -> None:
    with pytest.raises(HostError, match=f"{disk}.*bytes {start}:{size}"):
        mapped(disk, (0, 512), (start, size))


def test_a_device_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"none: No such file"):
        mapped(tmp_path / "none", (0, 512))


def test_a_missing_or_wrong_node_is_made_again(disk: Path) -> None:
    with mapped(disk, (0, MIB)) as found:
        node = Path(found.paths[0])
        number, device = int(node.name.removeprefix("loop")), node.stat().st_rdev
        for wrong in (False, True):
            node.unlink()
            if wrong:
                os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(1, 1))
            assert looping._node(number) == str(node)
            assert node.stat().st_rdev == device


def test_closing_twice_and_by_two_threads_is_harmless(disk: Path) -> None:
    found = mapped(disk, (0, MIB), (MIB, MIB))
    threads = [threading.Thread(target=found.close) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found.close()
    assert found.remaining == []


def test_a_mounted_range_is_cleared_with_its_unmount(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mapping, "_CLEAR", 0.2)
    root = tmp_path / "mount"
    root.mkdir()
    with mapped(disk, (MIB, 6 * MIB), read_only=False) as found:
        (path,) = found.paths
        subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
        namespace = MountNamespace(Privilege(), root)
        try:
            namespace.mount(path, root / "files", "ext4", ["rw"])
            with caplog.at_level(logging.WARNING):
                found.close()
            assert path in caplog.text
            assert found.remaining == [path]
            namespace.write(root / "files" / "name", "content")
            namespace.unmount()
            until(lambda: not found.remaining, 20)
        finally:
            namespace.close()
    assert b"content" in disk.read_bytes()


def test_nothing_stays_when_the_holder_is_killed(disk: Path) -> None:
    found = mapped(disk, (0, MIB), (MIB, MIB))
    os.kill(found._holder.pid, signal.SIGKILL)
    until(lambda: not found.remaining, 20)
    found.close()


def test_nothing_stays_when_volflow_is_killed(disk: Path) -> None:
    program = f"""
from volflow.disk.mapping import Mapping
from volflow.host.privilege import Privilege
found = Mapping(Privilege(), {str(disk)!r}, [(0, {MIB}), ({MIB}, {MIB})], read_only=False)
print(*found.paths, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as volflow:
        assert volflow.stdout
        paths = volflow.stdout.readline().split()
        assert len(loop.of_file(disk)) == len(paths) == 2
        volflow.kill()
    until(lambda: not loop.of_file(disk), 20)


def test_thirty_mappings_begin_in_parallel(disk: Path) -> None:
    content = disk.read_bytes()
    found: dict[int, Mapping] = {}
    gate = threading.Barrier(30)

    def begin(number: int) -> None:
        gate.wait()
        found[number] = mapped(disk, (number * 4096, 4096))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(30)]
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len({each.paths for each in found.values()}) == 30
        for number, each in found.items():
            start = number * 4096
            assert Path(each.paths[0]).read_bytes() == content[start : start + 4096]
    finally:
        for each in found.values():
            each.close()
    assert not any(each.remaining for each in found.values())
