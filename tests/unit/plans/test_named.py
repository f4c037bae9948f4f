"""Which backup a name means if several volumes have or had it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from volflow import times
from volflow.errors import BackupNotFoundError, UsageError
from volflow.movers.base import StoredBackup
from volflow.plans.named import Found, find_named

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STORED = [
    StoredBackup(f"b{day}", FIRST + timedelta(days=day), {"volume": volume, "name": "db"})
    for day, volume in enumerate(["original", "restored", "other"])
]


def find(exists: Mapping[str, bool | None], what: str = "db", days: int | None = None) -> Found:
    at = None if days is None else FIRST + timedelta(days=days)
    return find_named(STORED, what, at=at, exists=exists.get)


def test_the_volume_that_exists_is_meant() -> None:
    found = find({"original": False, "restored": True, "other": False})
    assert found.backup.id == "b1"
    assert found.note == (
        "3 volumes named 'db' have backups: this is volume restored, which exists. Its last backup "
        f"is b1 of {times.local(STORED[1].taken_at)}."
    )


def test_if_none_exists_the_newest_backup_is_meant() -> None:
    found = find(dict.fromkeys(("original", "restored", "other"), False))
    assert found.backup.id == "b2"
    assert "which has the newest backup. " in str(found.note)


def test_without_the_cloud_the_newest_backup_is_meant() -> None:
    found = find({})
    assert found.backup.id == "b2"
    assert "the newest backup; whether one of them exists is not known" in str(found.note)


def test_several_that_exist_are_listed_with_all_that_tells_them_apart() -> None:
    with pytest.raises(UsageError) as caught:
        find({"original": True, "restored": True, "other": False})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("3 volumes named 'db' have backups, and 2 of them exist.")
    assert lines[1:] == [
        f"  {volume}, project -, {word}, last backup {b.id} of {times.local(b.taken_at)}"
        for b, volume, word in (
            (STORED[2], "other", "does not exist"),
            (STORED[1], "restored", "exists"),
            (STORED[0], "original", "exists"),
        )
    ]


def test_only_volumes_that_had_a_backup_then_count() -> None:
    found = find({"original": False, "restored": True}, days=0)
    assert found == Found(STORED[0])


def test_an_id_needs_no_choice_and_no_cloud() -> None:
    assert find_named(STORED, "original", exists=lambda _: 1 / 0 > 0) == Found(STORED[0])
    with pytest.raises(BackupNotFoundError):
        find({}, "nothing")
