"""What precedes the superblock of ext2, ext3 and ext4: room for a boot loader.

This file also runs as a program of its own, as root, with nothing but the standard library:
``boot_sector.py read DEVICE`` prints it in base64, ``boot_sector.py write DEVICE`` writes what it
reads from its standard input.
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
# Boot loaders whose first sector knows the numbers of the blocks that their files are in.
_LOADERS = {b"EXTLINUX": "EXTLINUX", b"SYSLINUX": "SYSLINUX", b"GRUB": "GRUB", b"LILO": "LILO"}


def read(privilege: Privilege, device: str, kind: str) -> bytes:
    """The boot sector of a file system; empty if it is empty, or if the type has none.

    :param kind: the type of the file system
    :raises HostError: the device cannot be read
    """
    if not kind.startswith("ext"):
        return b""
    found = base64.b64decode(privilege.run(*_PROGRAM, "read", device))
    return found if any(found) else b""


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
    found = read(privilege, device, kind)
    name = next((name for mark, name in _LOADERS.items() if mark in found), "")
    return (
        f"its boot sector has {name}, which finds its files by the numbers of their blocks"
        if name
        else ""
    )


def main(act: str, device: str) -> None:
    """Read or write it."""
    if act == "read":
        with open(device, "rb", buffering=0) as file:
            print(base64.b64encode(file.read(SIZE)).decode())
        return
    content = base64.b64decode(sys.stdin.buffer.read())[:SIZE]
    fd = os.open(device, os.O_WRONLY)
    try:
        if os.pwrite(fd, content, 0) != len(content):
            raise OSError("the boot sector was written in part")
        os.fsync(fd)
    finally:
        os.close(fd)


if __name__ == "__main__":
    runpy.run_path(f"{os.path.dirname(__file__)}/helper.py")["run"](main)
