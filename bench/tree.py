"""A realistic tree of files, the same each time::

    python -m bench.tree make DIRECTORY FILES BYTES [SEED]
    python -m bench.tree change DIRECTORY BYTES [SEED]
    python -m bench.tree digest DIRECTORY

Sizes are distributed as on real file systems: most files are a few KiB, most bytes are in a few
large ones. Small files are text that compresses, large ones mostly bytes that do not. No block
occurs twice, unless trees are made from one seed.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from pathlib import Path

_SEED = 2026

_FILES_IN_A_DIRECTORY = 14
# Of the logarithm of the sizes: a mean of five times the median.
_SIGMA = 1.8
_LARGE = 256 * 1024
_MOMENT = 1_600_000_000
_POOL = 4 * 1024 * 1024
_PIECE = 16 * 1024


def make(root: Path, files: int, size: int, seed: int = _SEED) -> None:
    """Fill a directory.

    :param files: number of files
    :param size: total bytes of the files
    """
    chance = random.Random(seed)
    text = _text(chance)
    directories = _directories(chance, root, max(1, files // _FILES_IN_A_DIRECTORY))
    for number, length in enumerate(_sizes(chance, files, size)):
        large = length >= _LARGE
        random_bytes = large if chance.random() < 0.9 else not large
        path = chance.choice(directories) / f"{number:06}.{'bin' if random_bytes else 'txt'}"
        with path.open("wb") as file:
            if random_bytes:
                while length:
                    block = chance.randbytes(min(length, _POOL))
                    length -= file.write(block)
            else:
                _write_text(chance, file.fileno(), text, length)
        moment = (_MOMENT + chance.randrange(100_000_000)) * 10**9 + chance.randrange(10**9)
        os.utime(path, ns=(moment, moment))


def _sizes(chance: random.Random, files: int, size: int) -> list[int]:
    drawn = [chance.lognormvariate(0.0, _SIGMA) for _ in range(files)]
    sizes = [int(each * size / sum(drawn)) for each in drawn]
    sizes[sizes.index(max(sizes))] += size - sum(sizes)
    return sizes


def _directories(chance: random.Random, root: Path, count: int) -> list[Path]:
    made = [root]
    for number in range(count):
        # Below one of the newest half, so that the tree becomes both deep and wide.
        path = made[chance.randrange(len(made) // 2, len(made))] / f"d{number:04}"
        path.mkdir()
        made.append(path)
    return made


def _text(chance: random.Random) -> bytes:
    letters = "etaoinshrdlu"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 11))) for _ in range(5000)]
    text = bytearray()
    while len(text) < _POOL:
        text += " ".join(chance.choices(words, k=10)).encode() + b"\n"
    return bytes(text[:_POOL])


def _write_text(chance: random.Random, file: int, text: bytes, length: int) -> None:
    while length:
        start = chance.randrange(_POOL - _PIECE)
        length -= os.write(file, text[start : start + min(length, _PIECE)])


def change(root: Path, size: int, seed: int = _SEED) -> None:
    """Overwrite this number of bytes in the tree with other bytes, file by file."""
    chance = random.Random(seed)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    chance.shuffle(files)
    while size > 0:
        path = files.pop()
        length = min(path.stat().st_size, size)
        with path.open("r+b") as file:
            size -= file.write(chance.randbytes(length))


def digest(root: Path) -> str:
    """A digest of the names and contents of all files."""
    found = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(root)}\n".encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def main(what: str, where: str, *numbers: str) -> None:
    if what == "make":
        make(Path(where), *map(int, numbers))
    elif what == "change":
        change(Path(where), *map(int, numbers))
    else:
        print(digest(Path(where)))


if __name__ == "__main__":
    main(*sys.argv[1:])
