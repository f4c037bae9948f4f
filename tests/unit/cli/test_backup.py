"""The dry run of a backup says how much room the repository has, and warns if it is too little."""

from __future__ import annotations

import pytest

from volflow.cli.backup import _warning

MIB = 2**20


@pytest.mark.parametrize(
    ("free", "first", "says"),
    [
        (14 * MIB, 0, "too little for any backup"),
        (14 * MIB, 1, "too little for any backup"),
        (100 * MIB, 0, ""),
        (100 * MIB, 1, "may be too little"),
        (1024 * MIB, 1, ""),
    ],
)
def test_too_little_room_is_told(free: int, first: int, says: str) -> None:
    found = _warning(free, first, 64 * MIB)
    assert says in found
    assert bool(found) == bool(says)
