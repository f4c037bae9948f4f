"""Loop devices through the kernel's own ioctls.

``losetup -f`` assumes that ``/dev/loopN`` exists and is correct, and relies on udev. This module
does not: the number comes from ``/dev/loop-control``, it makes a missing or wrong node, and if
another process takes a number first, it tries the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import mount

LOOP_CLR_FD = 0x4C01
LOOP_GET_STATUS64 = 0x4C05
LOOP_SET_CAPACITY = 0x4C07
LOOP_CONFIGURE = 0x4C0A
LOOP_CTL_GET_FREE = 0x4C82

LO_FLAGS_AUTOCLEAR = 4
LO_FLAGS_DIRECT_IO = 16

CONTROL = Path("/dev/loop-control")
SYSFS = Path("/sys/block")
DELETED = " (deleted)"

#: Errors of a loop device that another process has just bound, or removed from the kernel.
TAKEN_OR_REMOVED = (errno.EBUSY, errno.ENXIO, errno.ENODEV, errno.ENOENT)


class LoopError(Exception):
    """A loop device could not be set up or taken down."""


class _LoopInfo(ctypes.Structure):
    """``struct loop_info64`` of ``linux/loop.h``."""

    _fields_ = [
        ("lo_device", ctypes.c_uint64),
        ("lo_inode", ctypes.c_uint64),
        ("lo_rdevice", ctypes.c_uint64),
        ("lo_offset", ctypes.c_uint64),
        ("lo_sizelimit", ctypes.c_uint64),
        ("lo_number", ctypes.c_uint32),
        ("lo_encrypt_type", ctypes.c_uint32),
        ("lo_encrypt_key_size", ctypes.c_uint32),
        ("lo_flags", ctypes.c_uint32),
        ("lo_file_name", ctypes.c_char * 64),
        ("lo_crypt_name", ctypes.c_char * 64),
        ("lo_encrypt_key", ctypes.c_uint8 * 32),
        ("lo_init", ctypes.c_uint64 * 2),
    ]


class _LoopConfig(ctypes.Structure):
    """``struct loop_config`` of ``linux/loop.h``."""

    _fields_ = [
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("info", _LoopInfo),
        ("reserved", ctypes.c_uint64 * 8),
    ]


@dataclass(frozen=True)
class Loop:
    """A loop device in use, as sysfs shows it."""

    number: int
    backing_file: str
    autoclear: bool

    @property
    def file(self) -> str:
        """The file's name, also when the file has been deleted."""
        return self.backing_file.removesuffix(DELETED)

    @property
    def path(self) -> Path:
        """The device node."""
        return Path(f"/dev/loop{self.number}")


def attach(file: Path, *, direct_io: bool = False) -> Path:
    """Bind ``file`` to a free loop device, which stays until `detach`; the device node.

    ``direct_io`` asks the kernel to bypass the page cache of the file; a kernel or file system
    without direct I/O ignores it.
    """
    number, device = _bind(file, LO_FLAGS_DIRECT_IO if direct_io else 0)
    os.close(device)
    return node(number)


@contextlib.contextmanager
def held(file: Path) -> Iterator[Path]:
    """Bind ``file`` to a loop device that the kernel frees as soon as nobody uses it.

    The block holds the device open. What should keep it after that, such as a mount, must exist
    before the block ends. A process that is killed inside the block leaves no device behind.
    """
    number, device = _bind(file, LO_FLAGS_AUTOCLEAR)
    try:
        yield node(number)
    finally:
        os.close(device)


def _bind(file: Path, flags: int) -> tuple[int, int]:
    """Bind ``file`` to a free loop device; its number and an open descriptor of it."""
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        config = _LoopConfig(fd=backing)
        config.info.lo_flags = flags
        config.info.lo_file_name = os.fsencode(file)[-63:]
        return _configure_a_free_one(config)
    finally:
        os.close(backing)


def _configure_a_free_one(config: _LoopConfig) -> tuple[int, int]:
    """Give ``config`` to a free loop device; its number and an open descriptor of it."""
    try:
        control = os.open(CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LoopError(f"{CONTROL}: {error.strerror}; is the loop module loaded?") from error
    try:
        # Other processes take loop devices too: another process can bind a free device first, and
        # LOOP_CONFIGURE then answers EBUSY.
        for attempt in range(200):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            try:
                device = os.open(node(number), os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(device, LOOP_CONFIGURE, config)
                except BaseException:
                    os.close(device)
                    raise
                return number, device
            except OSError as error:
                if error.errno not in TAKEN_OR_REMOVED:
                    raise LoopError(f"loop{number} cannot be set up: {error.strerror}") from error
            time.sleep(0.001 * min(attempt, 50))
        raise LoopError("no loop device is available: other processes took each free one")
    finally:
        os.close(control)


def node(number: int) -> Path:
    """The device node of loop device ``number``, made or corrected first if necessary.

    In a container, or without udev, ``/dev/loopN`` may be missing or be a node of another device.
    """
    path = Path(f"/dev/loop{number}")
    major, _, minor = (SYSFS / path.name / "dev").read_text().strip().partition(":")
    device = os.makedev(int(major), int(minor))
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        if stat.S_ISBLK(found.st_mode) and found.st_rdev == device:
            return path
    # With a name of its own and a rename, so that two processes can do this at once.
    fresh = path.with_name(f".loop{number}.{os.getpid()}.{time.monotonic_ns()}")
    os.mknod(fresh, 0o600 | stat.S_IFBLK, device)
    os.replace(fresh, path)
    return path


def detach(loop: Loop, *, timeout: float = 5.0) -> bool:
    """Free a loop device; true if it is free, false if somebody still has it open.

    The kernel frees a device that is open elsewhere with its last user; this waits for that for up
    to ``timeout`` seconds. It leaves alone a device that somebody else has bound in the meantime.
    """
    try:
        device = os.open(node(loop.number), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True  # the kernel has removed the device itself
    try:
        # Checked while we hold the device open: the kernel cannot free it now.
        if _backing_file(loop.number) != loop.backing_file:
            return True
        fcntl.ioctl(device, LOOP_CLR_FD)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise LoopError(f"{loop.path} cannot be freed: {error.strerror}") from error
        return True
    finally:
        os.close(device)
    deadline = time.monotonic() + timeout
    while _backing_file(loop.number) == loop.backing_file:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def grow(device: Path) -> None:
    """Make a loop device as large as its file, which has grown."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, LOOP_SET_CAPACITY)
    finally:
        os.close(descriptor)


def in_use() -> list[Loop]:
    """Every loop device of this machine that is bound to a file.

    This reads only sysfs: opening a device, even for a moment, can keep its owner from freeing it.
    """
    found = []
    for entry in SYSFS.glob("loop*/loop"):
        number = int(entry.parent.name.removeprefix("loop"))
        backing_file = _backing_file(number)
        if backing_file:
            found.append(Loop(number, backing_file, _goes_with_its_last_user(number)))
    return sorted(found, key=lambda each: each.number)


def _backing_file(number: int) -> str:
    """The file of a loop device, or None if it is free; a deleted file has `DELETED` appended."""
    return _attribute(number, "backing_file")


def _goes_with_its_last_user(number: int) -> bool:
    return _attribute(number, "autoclear") == "1"


def _attribute(number: int, name: str) -> str:
    try:
        return (SYSFS / f"loop{number}" / "loop" / name).read_text().rstrip("\n")
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
            return ""  # free, or freed while we looked
        raise


def of_file(file: Path) -> list[Loop]:
    """The loop devices bound to ``file``."""
    return [each for each in in_use() if each.backing_file == str(file) and _is_of(each, file)]


def _is_of(loop: Loop, file: Path) -> bool:
    """Whether a device is bound to this file and not to an older one of the same name."""
    try:
        found = file.stat()
        device = os.open(node(loop.number), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        info = _LoopInfo()
        fcntl.ioctl(device, LOOP_GET_STATUS64, info)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return False  # freed while we looked
    finally:
        os.close(device)
    return bool(info.lo_inode == found.st_ino and info.lo_device == found.st_dev)


def under(directory: Path) -> list[Loop]:
    """The loop devices of files in ``directory``, and the loop devices stacked on those.

    The uppermost come first, so that they can be freed in this order. This includes deleted files
    that only their device keeps.
    """
    everything = in_use()
    prefix = f"{directory}/"
    ours = [each for each in everything if each.backing_file.startswith(prefix)]
    known = set(ours)
    fringe = ours
    while fringe:
        paths = {str(each.path) for each in fringe}
        fringe = [each for each in everything if each not in known and each.file in paths]
        known.update(fringe)
        ours = fringe + ours
    return ours


def users_of(device: Path) -> list[str]:
    """Who uses a loop device, as readable text."""
    # This lists device mapper and the like, but not processes and stacked loop devices.
    found = [entry.name for entry in (SYSFS / device.name / "holders").iterdir()]
    found += [str(each.path) for each in in_use() if each.file == str(device)]
    return found + mount.users_of(device)
