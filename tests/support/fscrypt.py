"""Encrypts a directory as a guest does: fscrypt, with a key that only one mount has."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

# Documentation/filesystems/fscrypt.rst: FS_IOC_ADD_ENCRYPTION_KEY, FS_IOC_SET_ENCRYPTION_POLICY.
_ADD_KEY, _SET_POLICY = 0xC0506617, 0x800C6613
_BY_IDENTIFIER, _AES_256_XTS, _AES_256_CTS, _PAD_32 = 2, 1, 4, 3
_KEY = bytes(range(64))


def add_key(mount: Path) -> bytes:
    """Give a mounted file system the key; returns its identifier."""
    argument = bytearray(struct.pack("=II32xII32x", _BY_IDENTIFIER, 0, len(_KEY), 0) + _KEY)
    fd = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _ADD_KEY, argument)
    finally:
        os.close(fd)
    return bytes(argument[8:24])


def encrypt(directory: Path, identifier: bytes) -> None:
    """Encrypt what will be in an empty directory."""
    policy = struct.pack("=BBBBB3x16s", 2, _AES_256_XTS, _AES_256_CTS, _PAD_32, 0, identifier)
    fd = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _SET_POLICY, policy)
    finally:
        os.close(fd)
