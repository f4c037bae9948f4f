"""Binds loop devices to ranges of a device, and holds them.

This file runs as a program of its own, as root, with nothing but the standard library:
``looping.py DEVICE ro|rw SECTOR START:SIZE...`` prints the paths of the loop devices as a JSON list
in one line, and waits for the end of its standard input. The kernel clears each loop device when
its last user has ended (``LO_FLAGS_AUTOCLEAR``), also when this program is killed: a mount is such
a user.

It uses the ioctls of the kernel (``linux/loop.h``; loop(4)) and not losetup, which relies on udev
and on the nodes in ``/dev``, and loses the race for a free device.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import runpy
import stat
import struct
import sys
import time
from collections.abc import Callable, Sequence

_CONTROL = "/dev/loop-control"
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
# linux/fs.h: BLKROSET, BLKGETSIZE64.
_SET_READ_ONLY, _GET_SIZE = 0x125D, 0x80081272
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
# struct loop_config: the file, the size of a sector, struct loop_info64, and a reserve.
_CONFIG = struct.Struct("=II 5Q 4I 64s 64s 32s 2Q 64x")
_SMALLEST = 512
# What is said of a device that another process has just bound, or removed.
_TAKEN = (errno.EBUSY, errno.ENXIO, errno.ENODEV, errno.ENOENT)
# Seconds to look for a free device while others take them.
_SEARCH = 30.0
# Descriptors beside one for each loop device.
_MORE_FILES = 32


def bind(
    device: str, ranges: Sequence[tuple[int, int]], *, read_only: bool, sector: int = 512
) -> list[tuple[str, int]]:
    """Bind a loop device to each range.

    :param device: a block device or a file
    :param ranges: the first byte and the number of bytes of each
    :param sector: bytes of a sector of the loop devices; a range that does not consist of such
        sectors gets smaller ones
    :returns: the path of each, and a descriptor that keeps it; the kernel clears it when that and
        all other users are closed
    :raises OSError: the device or a range of it cannot be used; it names the device
    """
    backing = os.open(device, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    bound: list[tuple[str, int]] = []
    try:
        size = os.lseek(backing, 0, os.SEEK_END)
        control = _named(_CONTROL, lambda: os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC))
        try:
            for start, length in ranges:
                if start < 0 or length <= 0 or start % _SMALLEST or length % _SMALLEST:
                    raise OSError(
                        errno.EINVAL, f"bytes {start}:{length} are not whole sectors", device
                    )
                if start + length > size:
                    reason = f"bytes {start}:{length} are past its end at {size}"
                    raise OSError(errno.EINVAL, reason, device)
                flags = _AUTOCLEAR | _DIRECT_IO | (_READ_ONLY if read_only else 0)
                name = os.fsencode(device)[-63:]
                info = (0, 0, 0, start, length, 0, 0, 0, flags, name, b"", b"", 0, 0)
                # The end of a disk need not be a whole sector of the table.
                unit = _SMALLEST if length % sector else sector
                found = _free(control, _CONFIG.pack(backing, unit, *info), read_only)
                bound.append(found)
                _check(device, *found, (start, length))
        finally:
            os.close(control)
    except BaseException:
        for _, descriptor in bound:
            os.close(descriptor)
        raise
    finally:
        os.close(backing)
    return bound


def _free(control: int, config: bytes, read_only: bool) -> tuple[str, int]:
    """Configure a free loop device."""
    deadline, pause = time.monotonic() + _SEARCH, 0.001
    while True:
        try:
            number = fcntl.ioctl(control, _GET_FREE)
            path = _node(number)
            return path, _named(path, lambda: _configured(path, config, read_only))  # noqa: B023
        except OSError as error:
            if error.errno not in _TAKEN or time.monotonic() > deadline:
                raise
        # Others take loop devices too: one can be bound between the question and the answer.
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _configured(path: str, config: bytes, read_only: bool) -> int:
    mode = os.O_RDONLY if read_only else os.O_RDWR
    descriptor = os.open(path, mode | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _CONFIGURE, config)
        if not read_only:
            # What somebody has set outlives what was bound before. It is not set here: it would
            # outlive this too, and the kernel has a flag of its own for what is bound read-only.
            fcntl.ioctl(descriptor, _SET_READ_ONLY, bytes(4))
        # Some kernels do not mount what anybody may write to past the file system.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(descriptor)


def _check(device: str, path: str, descriptor: int, wanted: tuple[int, int]) -> None:
    size = bytearray(8)
    fcntl.ioctl(descriptor, _GET_SIZE, size)
    (found,) = struct.unpack("=Q", size)
    if found != wanted[1]:
        reason = f"{path} has {found} bytes for the range {wanted[0]}:{wanted[1]}"
        raise OSError(errno.EIO, reason, device)


def _node(number: int) -> str:
    """The node of a loop device. It is made or corrected where no udev does it."""
    path = f"/dev/loop{number}"
    with open(f"/sys/block/loop{number}/dev", encoding="ascii") as file:
        device = os.makedev(*map(int, file.read().split(":")))
    try:
        found = os.stat(path)
        if stat.S_ISBLK(found.st_mode) and found.st_rdev == device:
            return path
    except FileNotFoundError:
        pass
    # With a name of its own first, as two processes can do this at once.
    fresh = f"{path}.{os.getpid()}.{time.monotonic_ns()}"
    os.mknod(fresh, 0o600 | stat.S_IFBLK, device)
    os.replace(fresh, path)
    return path


def _named(path: str, call: Callable[[], int]) -> int:
    """The result of a call whose error may name no file."""
    try:
        return call()
    except OSError as error:
        error.filename = error.filename or path
        raise


def main(device: str, mode: str, sector: str, *ranges: str) -> None:
    """Bind the ranges, print the paths, and hold them until the standard input ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _files(len(ranges), hard)), hard))
    wanted = []
    for each in ranges:
        start, _, size = each.partition(":")
        wanted.append((int(start), int(size)))
    bound = bind(device, wanted, read_only=mode == "ro", sector=int(sector))
    print(json.dumps([path for path, _ in bound]), flush=True)
    while os.read(sys.stdin.fileno(), 4096):
        pass


def _files(ranges: int, hard: int) -> int:
    needed = ranges + _MORE_FILES
    return needed if hard == resource.RLIM_INFINITY else min(needed, hard)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
