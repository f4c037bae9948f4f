"""Images are written to a range and compared with it; a program tells what it has found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from volflow.disk import imaging

pytestmark = pytest.mark.heavy

MIB = 2**20
START = 3 * MIB + 512


def _command(action: str, device: Path, size: int, *command: str) -> list[str]:
    program = (sys.executable, "-I", "-S", imaging.__file__)
    return [*program, action, str(device), str(START), str(size), *command]


def _run(action: str, device: Path, size: int, *command: str) -> tuple[dict[str, Any], int, str]:
    done = subprocess.run(
        _command(action, device, size, *command), capture_output=True, text=True, check=False
    )
    told: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        told |= json.loads(line)
    return told, done.returncode, done.stderr


def _device(path: Path, content: bytes) -> Path:
    path.write_bytes(b"O" * START + content + b"O" * 5000)
    return path


@pytest.mark.parametrize("action", ["blank", "write"])
@pytest.mark.parametrize("size", [0, 1, 512, 65_536, 3 * MIB + 5])
def test_an_image_is_written_and_is_equal_then(tmp_path: Path, action: str, size: int) -> None:
    content = bytearray(os.urandom(size))
    for first in range(0, size, 200_000):
        content[first : first + 70_000] = bytes(len(content[first : first + 70_000]))
    stored = tmp_path / "stored"
    stored.write_bytes(content)
    before = bytes(size) if action == "blank" else os.urandom(size)
    device = _device(tmp_path / "device", before)
    assert _run(action, device, size, "cat", str(stored)) == ({"bytes": size}, 0, "")
    assert device.read_bytes() == b"O" * START + content + b"O" * 5000
    assert _run("compare", device, size, "cat", str(stored)) == ({"bytes": size}, 0, "")


def test_long_runs_of_zeros_become_holes(tmp_path: Path) -> None:
    size = 200 * MIB
    device = tmp_path / "device"
    with open(device, "wb") as file:
        file.write(b"O" * (START + 1))
        file.truncate(START + size)
        file.seek(START + 150 * MIB)
        file.write(os.urandom(8 * MIB))
    told, status, _ = _run("write", device, size, "head", "-c", str(size), "/dev/zero")
    assert (told, status) == ({"bytes": size}, 0)
    assert device.stat().st_blocks * 512 < START + MIB
    assert _run("compare", device, size, "head", "-c", str(size), "/dev/zero")[0] == told


@pytest.mark.parametrize("offset", [0, 1, MIB - 1, MIB, 2 * MIB + 12_345, 3 * MIB - 1])
def test_the_first_byte_that_differs_is_named(tmp_path: Path, offset: int) -> None:
    content = bytearray(os.urandom(3 * MIB))
    stored = tmp_path / "stored"
    stored.write_bytes(content)
    content[offset] ^= 1
    content[-1] ^= 2
    device = _device(tmp_path / "device", bytes(content))
    told, status, said = _run("compare", device, 3 * MIB, "cat", str(stored))
    assert told["differs"] == offset
    assert status != 0
    assert said == ""


@pytest.mark.parametrize("size", [0, 5, 2 * MIB - 1])
def test_an_image_that_ends_too_early_is_told(tmp_path: Path, size: int) -> None:
    device = _device(tmp_path / "device", bytes(2 * MIB))
    told, status, _ = _run("write", device, 2 * MIB, "head", "-c", str(size), "/dev/urandom")
    assert told["size"] == size
    assert status != 0


def test_an_image_without_end_is_told_and_nothing_is_written_behind_the_range(
    tmp_path: Path,
) -> None:
    device = _device(tmp_path / "device", bytes(2 * MIB))
    told, status, _ = _run("write", device, 2 * MIB, "cat", "/dev/zero")
    assert told["size"] == 2 * MIB + 1
    assert status != 0
    assert device.read_bytes() == b"O" * START + bytes(2 * MIB) + b"O" * 5000


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    device = _device(tmp_path / "device", bytes(2 * MIB))
    program = "head -c 1000000 /dev/zero; echo why >&2; exit 7"
    assert _run("write", device, 2 * MIB, "sh", "-c", program)[1:] == (7, "why\n")
    # It has written everything, and failed nevertheless.
    program = f"head -c {2 * MIB} /dev/zero; echo why >&2; exit 7"
    assert _run("write", device, 2 * MIB, "sh", "-c", program)[1:] == (7, "why\n")


def test_a_device_that_is_too_small_is_named(tmp_path: Path) -> None:
    device = _device(tmp_path / "device", bytes(MIB))
    told, status, _ = _run("write", device, 9 * MIB, "cat", "/dev/zero")
    assert str(device) in told["failed"]
    assert "bytes" in told["failed"]
    assert status != 0


def test_an_interrupt_ends_the_command_too(tmp_path: Path) -> None:
    device = _device(tmp_path / "device", bytes(4 * MIB))
    note = tmp_path / "note"
    program = f"trap 'echo ended >{note}; exit 9' INT; head -c {2 * MIB} /dev/zero; "
    program += "while :; do sleep 0.05; done"
    command = _command("write", device, 4 * MIB, "sh", "-c", program)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["bytes"] == MIB
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 9
    assert note.read_text() == "ended\n"
