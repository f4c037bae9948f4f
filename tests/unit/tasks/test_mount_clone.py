"""What a backup tells of the files that it reads again."""

from __future__ import annotations

import pytest

from volflow.tasks.mount_clone import read_again

NEAR = "again, which changed shortly before or after the last backup"


@pytest.mark.parametrize(
    ("count", "unread", "says"),
    [
        (2478, 0, f"reads 2,478 files {NEAR}"),
        (1, 0, f"reads 1 file {NEAR}"),
        (3, 2, f"reads 3 files {NEAR}; 2 of them cannot be opened"),
    ],
)
def test_only_files_that_cannot_be_opened_are_told_of(count: int, unread: int, says: str) -> None:
    assert read_again(count, unread) == says
