"""Blocks are copied back completely, and only where they differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from volflow.disk import blocks

MIB = 1024**2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three MiB and a bit: data, zeros, data."""
    path = tmp_path / "source"
    path.write_bytes(os.urandom(MIB) + bytes(MIB) + os.urandom(MIB + 512))
    return path


def test_the_target_becomes_equal_and_keeps_what_is_behind(source: Path, tmp_path: Path) -> None:
    target, size = tmp_path / "target", source.stat().st_size
    target.write_bytes(os.urandom(size) + b"behind")
    assert blocks.make_equal(str(source), str(target), size) == size
    assert target.read_bytes() == source.read_bytes() + b"behind"


def test_equal_blocks_are_not_written(source: Path, tmp_path: Path) -> None:
    target, size = tmp_path / "target", source.stat().st_size
    data = bytearray(source.read_bytes())
    # Not even a hole is filled, unless something else was written there.
    data[2 * MIB] ^= 1
    target.write_bytes(data)
    assert blocks.make_equal(str(source), str(target), size) == MIB
    assert target.read_bytes() == source.read_bytes()


def test_a_device_that_is_too_small_is_an_error(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(MIB))
    with pytest.raises(OSError, match="the device ends at byte 1048576"):
        blocks.make_equal(str(source), str(target), source.stat().st_size)


def test_it_runs_as_a_program_of_its_own(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(source.stat().st_size))
    command = [sys.executable, "-I", "-S", blocks.__file__, source, target, str(3 * MIB)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(2 * MIB)
    assert target.read_bytes()[: 3 * MIB] == source.read_bytes()[: 3 * MIB]
