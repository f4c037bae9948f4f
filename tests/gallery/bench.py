"""Where a disk of the gallery is made. It uses no code of volflow but loop devices."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import loop
from tests.support.cloud import in_a_namespace, run, unmount
from volflow.disk.mapping import Mapping
from volflow.host.privilege import Privilege

MIB = 1024**2
# 2001-09-09, with nanoseconds that any rounding would change.
_MOMENT = 1_000_000_000_123_456_789


class Bench:
    """A disk that is being made.

    :param disk: a new file
    :param size: its bytes
    :param sector: bytes of a sector of the device that it stands for
    :param scratch: a directory for files that are removed again
    """

    def __init__(self, disk: Path, size: int, sector: int, scratch: Path) -> None:
        self.disk, self.size, self.sector = disk, size, sector
        self._scratch = tempfile.TemporaryDirectory(dir=scratch, prefix="bench-")
        self.random = random.Random(disk.name)

    def __enter__(self) -> Bench:
        with open(self.disk, "xb") as file:
            file.truncate(self.size)
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def new(self, size: int) -> Path:
        """A file of zeros."""
        descriptor, name = tempfile.mkstemp(dir=self._scratch.name)
        os.truncate(descriptor, size)
        os.close(descriptor)
        return Path(name)

    def made(self, size: int, *command: str) -> Path:
        """A file that a program has filled: its path is the last argument."""
        file = self.new(size)
        run(*command, str(file))
        return file

    def table(self, script: str) -> None:
        """Write a partition table, as sfdisk reads it."""
        self.on_device(lambda path: run("sfdisk", "--quiet", path, input=script))

    def on_device(self, do: Callable[[str], str]) -> str:
        """Call a function with the disk as a device with sectors of the right size."""
        if self.sector == 512:
            return do(str(self.disk))
        ranges = [(0, self.size)]
        with Mapping(
            Privilege(), str(self.disk), ranges, read_only=False, sector_size=self.sector
        ) as mapped:
            return do(mapped.paths[0])

    def place(self, number: int) -> tuple[int, int]:
        """The first byte and the size of a partition."""
        told = json.loads(self.on_device(lambda path: run("sfdisk", "--json", path)))
        for each in told["partitiontable"]["partitions"]:
            if each["node"].removeprefix(told["partitiontable"]["device"]).lstrip("p") == str(
                number
            ):
                return each["start"] * self.sector, each["size"] * self.sector
        raise AssertionError(f"no partition {number}: {told}")

    def partition(
        self, number: int, *command: str, files: bool = False, crashed: bool = False
    ) -> None:
        """Fill a partition by a program; with files, if it is a file system of this kernel."""
        start, size = self.place(number)
        file = self.made(size, *command)
        if files or crashed:
            self.fill(file, crashed=crashed)
        self.put(file, start)

    def put(self, file: Path, start: int = 0) -> None:
        """Copy a file to a place on the disk, and remove it. Holes stay holes."""
        run(
            *("dd", f"if={file}", f"of={self.disk}", "bs=64K", f"seek={start}"),
            *("conv=sparse,notrunc", "oflag=seek_bytes", "status=none"),
        )
        file.unlink()

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes to a place on the disk. A negative one counts from its end."""
        with open(self.disk, "r+b") as file:
            file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
            file.write(data)

    def noise(self, offset: int, length: int) -> None:
        """Write random bytes, the same ones for each disk of a name."""
        self.write(offset, self.random.randbytes(length))

    def fill(
        self, file: Path, *, crashed: bool = False, more: Callable[[Path], None] | None = None
    ) -> None:
        """Put files on the file system in an image.

        :param crashed: the guest is using it: its journal is not empty
        :param more: does something else where it is mounted
        """
        mount = Path(tempfile.mkdtemp(dir=self._scratch.name))

        def inside() -> None:
            with loop.held(file) as device:
                run("mount", str(device), str(mount))
                try:
                    _files(mount, self.random)
                    if more:
                        more(mount)
                    if crashed:
                        _crash(mount)
                finally:
                    unmount(mount)

        in_a_namespace(inside)

    def with_loop(self, file: Path, do: Callable[[str], object]) -> None:
        """Call a function with a file as a block device."""
        with loop.held(file) as device:
            do(str(device))


def _crash(mount: Path) -> None:
    """Leave a journal that is not empty."""
    (mount / "written last").write_text("only the journal knows\n")
    run("sync", "--file-system", str(mount))
    run("xfs_io", "-x", "-c", "shutdown -f", str(mount))


def _files(root: Path, drawn: random.Random) -> None:
    """A small tree with the usual kinds of files."""
    etc = root / "etc" / "default"
    etc.mkdir(parents=True)
    (root / "etc" / "hostname").write_text("guest\n")
    (etc / "n\xf6t ascii").write_text("x")
    secret = root / "etc" / "shadow"
    secret.write_bytes(drawn.randbytes(900))
    secret.chmod(0o640)
    os.chown(secret, 0, 42)
    os.setxattr(secret, "user.note", b"keep")
    (root / "large").write_bytes(drawn.randbytes(300_000))
    with open(root / "holes", "wb") as file:
        file.seek(2 * MIB)
        file.write(b"after a hole")
        file.truncate(3 * MIB)
    os.symlink("etc/hostname", root / "link")
    os.link(root / "large", root / "hard link")
    os.mkfifo(root / "pipe", 0o600)
    for path in (secret, etc, root / "link"):
        os.utime(path, ns=(_MOMENT, _MOMENT), follow_symlinks=False)
