"""Loop devices for the lab."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import loop, pool
from tests.support.lab_tools import (
    MIB,
    exported,
    write,
)

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root"),
    pytest.mark.skipif(pool.mkfs() is None, reason="the lab needs mkfs.xfs (xfsprogs)"),
]
pytest.importorskip("cinder", reason="the lab needs cinder")
pytest.importorskip("waitress", reason="the lab needs waitress")


class TestLoop:
    @pytest.fixture
    def files(self, tmp_path: Path) -> Iterator[list[Path]]:
        """Some files; their loop devices are freed afterwards."""
        made = [tmp_path / str(number) for number in range(12)]
        for file in made:
            file.write_bytes(b"")
            os.truncate(file, MIB)
        try:
            yield made
        finally:
            for device in loop.under(tmp_path):
                assert loop.detach(device)

    def test_many_at_once_get_a_device_each(self, files: list[Path]) -> None:
        with ThreadPoolExecutor(len(files)) as threads:
            devices = list(threads.map(loop.attach, files))
        assert len(set(devices)) == len(files)
        for file, device in zip(files, devices, strict=True):
            assert [each.path for each in loop.of_file(file)] == [device]

    def test_a_missing_or_wrong_node_is_put_right(self, files: list[Path]) -> None:
        device = loop.attach(files[0])  # ours, so that nothing else uses its node
        number = int(device.name.removeprefix("loop"))
        right = device.stat().st_rdev
        for wrong in (None, os.makedev(1, 3)):
            device.unlink()
            if wrong:
                os.mknod(device, 0o600 | stat.S_IFCHR, wrong)
            assert loop.node(number) == device
            assert device.stat().st_rdev == right

    @pytest.mark.parametrize("direct_io", [False, True])
    def test_what_is_written_arrives(self, files: list[Path], direct_io: bool) -> None:
        device = loop.attach(files[0], direct_io=direct_io)
        write(device, b"here", offset=4096)
        (found,) = loop.of_file(files[0])
        assert loop.detach(found)
        assert not loop.of_file(files[0])
        assert files[0].read_bytes()[4096:4100] == b"here"

    def test_a_device_that_another_has_taken_is_left_alone(self, files: list[Path]) -> None:
        device = loop.attach(files[0])
        (found,) = loop.of_file(files[0])
        is_exported = exported(device)
        stranger = loop.Loop(found.number, "/somewhere/else", autoclear=False)
        assert loop.detach(stranger)
        assert is_exported()
