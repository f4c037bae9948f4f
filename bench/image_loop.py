"""The least that a backup of an image costs: read, hash, compress, encrypt. Nothing is stored.

    python image_loop.py DEVICE [--unchanged]

Two threads read with O_DIRECT; each chunk is hashed by BLAKE3, and unless it is zero or --unchanged
is given, compressed by zstd and encrypted by AES-256 in counter mode.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

PIECE, CHUNK = 2**20, 256 * 2**10
THREADS, LEVEL = 2, 3
_ZEROS = bytes(CHUNK)


def work(device: str, number: int, unchanged: bool) -> None:
    """Do every second piece."""
    file = os.open(device, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, PIECE)
    view = memoryview(memory)
    compressor = zstandard.ZstdCompressor(level=LEVEL)
    key = os.urandom(32)
    offset = number * PIECE
    while got := os.preadv(file, [view], offset):
        for start in range(0, got, CHUNK):
            chunk = view[start : start + CHUNK]
            if memory[start : start + len(chunk)] == _ZEROS:
                continue
            blake3(chunk).digest()
            if not unchanged:
                packed = compressor.compress(chunk)
                Cipher(AES(key), CTR(os.urandom(16))).encryptor().update(packed)
        offset += THREADS * PIECE
    os.close(file)


def main(device: str, *options: str) -> None:
    threads = [
        threading.Thread(target=work, args=(device, number, bool(options)))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
