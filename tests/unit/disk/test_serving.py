"""Ranges of devices are shown as files that every program can read."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import namespaces
from tests.support.waiting import until
from volflow.disk import serving
from volflow.host.namespace import MountNamespace
from volflow.host.privilege import Privilege
from volflow.host.program import Program

pytestmark = pytest.mark.heavy

MIB = 2**20
MODIFIED = 1_700_000_000_123_456_789
PROGRAM = ("python3", "-I", "-S", serving.__file__)


@pytest.fixture(autouse=True)
def _can_mount() -> None:
    if why := namespaces.missing():
        pytest.skip(why)


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[MountNamespace]:
    (tmp_path / "mount").mkdir()
    namespace = MountNamespace(Privilege(), tmp_path / "mount")
    try:
        yield namespace
    finally:
        namespace.close()


@contextmanager
def served(
    namespace: MountNamespace, *ranges: tuple[str, Path, int, int]
) -> Iterator[tuple[Program, Path]]:
    """The program, and where its files are for this process."""
    arguments = [
        text
        for name, device, start, size in ranges
        for text in (str(namespace.root / name), str(device), str(start), str(size))
    ]
    with (
        namespace.start(*PROGRAM, str(MODIFIED), *arguments) as process,
        namespaces.visible(namespace) as root,
    ):
        assert next(process.records(b"\n"), None) is not None, process.said()
        yield process, root


def test_files_have_the_bytes_of_their_ranges(namespace: MountNamespace, tmp_path: Path) -> None:
    content = os.urandom(5 * MIB)
    device = tmp_path / "device"
    device.write_bytes(content)
    ranges = [("a/1.img", device, 0, 5 * MIB), ("a/2.img", device, 1000, 3 * MIB + 7)]
    with served(namespace, *ranges) as (_, root):
        for name, _, start, size in ranges:
            assert (root / name).read_bytes() == content[start : start + size]
            with open(root / name, "rb", buffering=0) as file:
                for offset, count in ((0, 1), (4095, 2), (size - 3, 9), (size, 5), (1, 4 * MIB)):
                    file.seek(offset)
                    found = file.read(count)
                    assert found == content[start : start + size][offset : offset + count]


def test_a_file_is_of_root_and_cannot_be_written(namespace: MountNamespace, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(MIB))
    with served(namespace, ("1.img", device, 0, MIB)) as (_, root):
        status = (root / "1.img").stat()
        assert stat.S_ISREG(status.st_mode)
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o600, 0, 0)
        assert (status.st_size, status.st_nlink, status.st_mtime_ns) == (MIB, 1, MODIFIED)
        with pytest.raises(OSError, match="Read-only file system"):
            (root / "1.img").write_bytes(b"x")
        mounts = namespace.run("cat", "/proc/self/mountinfo").splitlines()
        (mount,) = [line for line in mounts if f"{namespace.root}/1.img" in line]
        assert " ro,nosuid,nodev,noexec," in mount


def test_each_time_it_is_shown_a_file_has_another_ctime(
    namespace: MountNamespace, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(MIB))
    seen = set()
    for number in range(3):
        name = f"{number}.img"
        with served(namespace, (name, device, 0, MIB)) as (_, root):
            seen.add((root / name).stat().st_ctime_ns)
    assert len(seen) == 3


def test_sixteen_tebibytes_are_shown(namespace: MountNamespace) -> None:
    size = 16 * 2**40
    # ext4 has no such large files.
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as device:
        device.truncate(size + 1)
        device.seek(size - 5)
        device.write(b"at end")
        device.flush()
        with served(namespace, ("1.img", Path(device.name), 1, size)) as (_, root):
            assert (root / "1.img").stat().st_size == size
            with open(root / "1.img", "rb", buffering=0) as shown:
                shown.seek(size - 6)
                assert shown.read(10) == b"at end"


def test_many_files_are_shown_and_take_little_memory(
    namespace: MountNamespace, tmp_path: Path
) -> None:
    content = os.urandom(400 * 4096)
    device = tmp_path / "device"
    device.write_bytes(content)
    ranges = [(f"{number}.img", device, number * 4096, 4096) for number in range(400)]
    with served(namespace, *ranges) as (process, root):
        for name, _, start, size in ranges:
            assert (root / name).read_bytes() == content[start : start + size]
        status = Path(f"/proc/{process.pid}/status").read_text()
        (peak,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        assert int(peak.split()[1]) < 64 * 1024


def test_what_the_device_cannot_read_is_an_input_output_error(
    namespace: MountNamespace, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    device.write_bytes(b"x" * 2 * MIB)
    with served(namespace, ("1.img", device, 0, 2 * MIB)) as (process, root):
        os.truncate(device, MIB)
        with open(root / "1.img", "rb", buffering=0) as file:
            assert file.read(MIB) == b"x" * MIB
            with pytest.raises(OSError, match="Input/output error"):
                file.read(MIB)
            file.seek(0)
            assert file.read(5) == b"xxxxx"
        assert str(device) in process.said()


def test_it_ends_when_all_files_are_unmounted(namespace: MountNamespace, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(MIB))
    ranges = [(f"{number}.img", device, 0, MIB) for number in range(3)]
    with served(namespace, *ranges) as (process, root):
        for name, *_ in ranges:
            assert not process.ended
            namespace.run("umount", namespace.root / name)
            assert (root / name).stat().st_size == 0
        assert process.wait() == 0


def test_it_ends_with_its_namespace(namespace: MountNamespace, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(MIB))
    with served(namespace, ("1.img", device, 0, MIB)) as (process, _):
        namespace.close()
        assert process.wait() == -signal.SIGKILL


def test_whoever_reads_gets_an_error_when_it_is_killed(
    namespace: MountNamespace, tmp_path: Path
) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(4 * MIB))
    with served(namespace, ("1.img", device, 0, 4 * MIB)) as (process, root):
        fd = os.open(root / "1.img", os.O_RDONLY)
        assert os.pread(fd, MIB, 0) == bytes(MIB)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: process.ended)
        with pytest.raises(OSError, match=r"not connected|Software caused connection abort"):
            os.pread(fd, MIB, MIB)
        with contextlib.suppress(OSError):
            os.close(fd)


def test_what_cannot_be_shown_is_named(namespace: MountNamespace, tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.write_bytes(bytes(MIB))
    for start, size in ((0, MIB + 1), (MIB, 1)):
        command = (*PROGRAM, str(MODIFIED), str(tmp_path / "1.img"), str(device))
        done = subprocess.run(
            [*command, str(start), str(size)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"{device}: it has {MIB} bytes")
