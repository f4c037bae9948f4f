"""The room for a boot loader in a file system, and what a boot loader there needs.

What precedes the superblock of ext2, ext3 and ext4 is stored and put back. A boot loader that finds
its files by the numbers of their blocks would not find them after a restore as files.

This file also runs as a program of its own, as root, with nothing but the standard library:
``boot_sector.py read DEVICE OFFSET LENGTH`` prints these bytes in base64, ``boot_sector.py write
DEVICE`` writes what it reads from its standard input.
"""

from __future__ import annotations

import base64
import os
import runpy
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volflow.host.privilege import Privilege

#: Bytes of it. XFS and others begin with their superblock.
SIZE = 1024
_PROGRAM = (sys.executable, "-I", "-S", os.path.abspath(__file__))
# These boot loaders keep the numbers of the blocks of their files in their first sector.
_LOADERS = {b"EXTLINUX": "EXTLINUX", b"SYSLINUX": "SYSLINUX", b"GRUB": "GRUB", b"LILO": "LILO"}
# Where such code is, by the type of the file system: first byte, and the byte after the last one.
# In XFS it is behind the headers of the first allocation group. A label can contain any name.
_CODE = {
    "ext": ((0, SIZE),),
    "xfs": ((2048, 4096),),
    "vfat": ((3, 11), (128, 510)),
    "exfat": ((128, 510),),
}
_READ = 4096


def read(privilege: Privilege, device: str, kind: str) -> bytes:
    """The boot sector of a file system; empty if it is empty, or if the type has none.

    :param kind: the type of the file system
    :raises HostError: the device cannot be read
    """
    if not kind.startswith("ext"):
        return b""
    found = read_at(privilege, device, 0, SIZE)
    return found if any(found) else b""


def read_at(privilege: Privilege, device: str, offset: int, length: int) -> bytes:
    """Bytes of a device; fewer at its end.

    :param length: a few kilobytes at most
    :raises HostError: the device cannot be read
    """
    return base64.b64decode(privilege.run(*_PROGRAM, "read", device, str(offset), str(length)))


def write(privilege: Privilege, device: str, content: bytes) -> None:
    """Write a boot sector.

    :raises HostError: the device cannot be written to
    """
    text = base64.b64encode(content[:SIZE]).decode()
    privilege.run(*_PROGRAM, "write", device, stdin=text)


def why_image(privilege: Privilege, device: str, kind: str) -> str:
    """Why a file system with a boot loader must be an image; empty if it need not be.

    :param kind: the type of the file system
    :raises HostError: the device cannot be read
    """
    ranges = _CODE.get("ext" if kind.startswith("ext") else kind, ())
    if not ranges:
        return ""
    found = read_at(privilege, device, 0, _READ)
    code = b"\0".join(found[start:end] for start, end in ranges)
    name = next((name for mark, name in _LOADERS.items() if mark in code), "")
    return (
        f"its boot sector has {name}, which finds its files by the numbers of their blocks"
        if name
        else ""
    )


def main(act: str, device: str, offset: str = "0", length: str = "0") -> None:
    """Read or write it."""
    try:
        if act == "read":
            print(base64.b64encode(_bytes(device, int(offset), int(length))).decode())
        else:
            _put(device, base64.b64decode(sys.stdin.buffer.read())[:SIZE])
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), device) from error


def _bytes(device: str, offset: int, length: int) -> bytes:
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def _put(device: str, content: bytes) -> None:
    fd = os.open(device, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.pwrite(fd, content, 0) != len(content):
            raise OSError("the boot sector was written in part")
        os.fsync(fd)
    finally:
        os.close(fd)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
