"""Which backup somebody means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from volflow.archive import find, latest, until
from volflow.errors import BackupNotFoundError, UsageError
from volflow.movers.base import Stored


def stored(backup: str, volume: str, name: str, day: int) -> Stored:
    return Stored(backup, datetime(2026, 1, day, tzinfo=UTC), {"volume": volume, "name": name})


BACKUPS = [
    stored("aa11", "vol-1", "one", 1),
    stored("aa22", "vol-1", "one", 2),
    stored("bb33", "vol-2", "two", 3),
    stored("cc44", "vol-3", "twin", 4),
    stored("cc55", "vol-4", "twin", 5),
]


@pytest.mark.parametrize(
    ("what", "backup"),
    [
        ("aa11", "aa11"),
        ("b", "bb33"),
        ("vol-1", "aa22"),
        ("one", "aa22"),
        ("vol-4", "cc55"),
    ],
)
def test_one_is_found(what: str, backup: str) -> None:
    assert find(BACKUPS, what).id == backup


def test_a_volume_comes_before_the_beginning_of_an_id() -> None:
    backups = [*BACKUPS, stored("dd66", "vol-5", "aa", 6)]
    assert find(backups, "aa").id == "dd66"


@pytest.mark.parametrize(
    ("what", "says"),
    [("aa", "2 backups begin with 'aa'.*aa11, aa22"), ("twin", "2 volumes.*vol-3, vol-4")],
)
def test_it_could_be_several(what: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find(BACKUPS, what)


def test_there_is_none() -> None:
    with pytest.raises(BackupNotFoundError, match=r"'zz'.*backup list"):
        find(BACKUPS, "zz")


def test_the_last_of_each_volume() -> None:
    assert [backup.id for backup in latest(BACKUPS)] == ["aa22", "bb33", "cc44", "cc55"]


def test_those_of_a_moment() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert [backup.id for backup in until(BACKUPS, moment)] == ["aa11", "aa22"]
    assert until(BACKUPS, None) == BACKUPS
