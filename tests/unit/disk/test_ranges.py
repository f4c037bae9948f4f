"""Ranges of devices and files are read and written exactly, and nothing beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import namespaces
from tests.support.cloud import run
from volflow.disk.ranges import CHUNK, Range, buffer

WHOLE = 4 * CHUNK


@pytest.fixture(params=["file", "tmpfs", "sectors of 512", "sectors of 4096"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file or a block device with random content."""
    directory = Path("/dev/shm") if request.param == "tmpfs" else tmp_path
    file = directory / f"range-{os.getpid()}"
    file.write_bytes(os.urandom(WHOLE))
    try:
        if not request.param.startswith("sectors"):
            yield file
            return
        if why := namespaces.missing():
            pytest.skip(why)
        size = request.param.rpartition(" ")[2]
        name = run("losetup", "--find", "--show", "--sector-size", size, str(file)).strip()
        try:
            yield Path(name)
        finally:
            run("losetup", "--detach", name)
    finally:
        file.unlink()


RANGES = [(0, WHOLE), (4096, 8192), (512, 3 * CHUNK + 512), (1000, 2 * CHUNK + 77), (7, 1)]


@pytest.mark.parametrize(("start", "size"), RANGES)
def test_a_range_is_read_exactly(device: Path, start: int, size: int) -> None:
    content = device.read_bytes()
    memory = buffer()
    with Range(str(device), start, size) as span:
        for offset in range(0, size, CHUNK):
            count = min(CHUNK, size - offset)
            found = bytes(span.read(memory, offset, count))
            assert found == content[start + offset : start + offset + count]


@pytest.mark.parametrize(("start", "size"), RANGES)
def test_only_the_range_is_written(device: Path, start: int, size: int) -> None:
    content = bytearray(device.read_bytes())
    memory = buffer()
    with Range(str(device), start, size, write=True) as span:
        for offset in range(0, size, CHUNK):
            count = min(CHUNK, size - offset)
            memory[:count] = os.urandom(count)
            content[start + offset : start + offset + count] = memory[:count]
            span.write(memoryview(memory)[:count], offset)
        span.settle()
    assert device.read_bytes() == content


@pytest.mark.parametrize("fails", [0, 1, 2])
@pytest.mark.parametrize(("start", "size"), RANGES)
def test_zeroed_bytes_read_as_zeros_however_the_device_does_it(
    device: Path, start: int, size: int, fails: int
) -> None:
    content = bytearray(device.read_bytes())
    with Range(str(device), start, size, write=True) as span:
        del span._zeroing[:fails]
        span.zero(size // 3, size - size // 3)
        span.settle()
    content[start + size // 3 : start + size] = bytes(size - size // 3)
    assert device.read_bytes() == content


def test_a_range_beyond_the_end_is_refused(device: Path) -> None:
    with pytest.raises(OSError, match=f"it has {WHOLE} bytes") as caught:
        Range(str(device), 512, WHOLE)
    assert caught.value.filename == str(device)


def test_a_device_that_ends_meanwhile_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(3 * CHUNK))
    with Range(str(file), 0, 3 * CHUNK) as span:
        os.truncate(file, CHUNK + 100)
        assert bytes(span.read(buffer(), CHUNK, 100)) == bytes(100)
        with pytest.raises(OSError, match="has ended at byte") as caught:
            span.read(buffer(), CHUNK, 101)
        assert caught.value.filename == str(file)


def test_what_cannot_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError):
            Range(str(tmp_path / "missing"), 0, 1)
        with pytest.raises(OSError):
            Range("/dev/null", 0, 1)
    assert len(os.listdir("/proc/self/fd")) == before
