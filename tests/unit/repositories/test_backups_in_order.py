"""The order of backups: by the time of their data, and only those that are finished count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from volflow.errors import BackupNotFoundError, UsageError
from volflow.movers.base import StoredBackup
from volflow.repositories.backups import (
    AmbiguousNameError,
    NoBackupThenError,
    find,
    in_order,
    latest,
    until,
)
from volflow.results.outcome import Outcome

NOW = datetime.now(UTC)


def backup(
    backup_id: str, volume: str = "v", *, stored: float, taken: float | None = None, **tags: str
) -> StoredBackup:
    """A backup of a volume; times are in hours from now."""
    found = {"volume": volume, "name": f"name of {volume}"} | tags
    if taken is not None:
        found["taken"] = (NOW + timedelta(hours=taken)).isoformat()
    return StoredBackup(backup_id, NOW + timedelta(hours=stored), found)


def ids(backups: list[StoredBackup]) -> list[str]:
    return [one.id for one in backups]


# The time of the data


def test_a_backup_that_was_stored_late_does_not_outrank_newer_data() -> None:
    monday = backup("monday", stored=-1, taken=-72)
    wednesday = backup("wednesday", stored=-24, taken=-24)
    assert ids(in_order([monday, wednesday])) == ["monday", "wednesday"]
    assert find(in_order([monday, wednesday]), "v").id == "wednesday"
    assert ids(until([monday, wednesday], NOW - timedelta(hours=48))) == ["monday"]


def test_a_backup_without_a_tag_counts_from_when_it_was_stored() -> None:
    old = backup("old", stored=-3)
    assert old.taken_at == old.created_at
    assert ids(in_order([backup("new", stored=-1, taken=-2), old])) == ["old", "new"]


@pytest.mark.parametrize("text", ["", "yesterday", "9999-12-31T23:59:59-14:00", "1"])
def test_a_time_that_makes_no_sense_is_ignored(text: str) -> None:
    odd = StoredBackup("odd", NOW, {"taken": text, "number": "-1e9"})
    assert odd.order == (NOW, 0, NOW)


def test_backups_of_the_same_second_are_ordered_by_their_number() -> None:
    second = backup("second", stored=-2, taken=-3, number="10")
    first = backup("first", stored=-1, taken=-3, number="9")
    assert ids(in_order([second, first])) == ["first", "second"]


def test_a_backup_of_the_future_is_the_last_only_if_there_is_no_other() -> None:
    future = backup("future", stored=-2, taken=48)
    assert future.of_the_future()
    assert not backup("now", stored=0, taken=0.05).of_the_future()
    assert ids(latest([future])) == ["future"]
    sane = backup("sane", stored=-1, taken=-1)
    assert ids(latest([sane, future])) == ids(latest([future, sane])) == ["sane"]
    assert find([sane, future], "v").id == "sane"
    assert find([sane, future], "future").id == "future"


# Unfinished backups


def test_an_unfinished_backup_is_found_by_its_id_only() -> None:
    good = backup("good", stored=-2)
    unfinished = backup("unfinished", stored=-1, state="unchecked")
    assert unfinished.outcome is Outcome.UNFINISHED
    for what in ("v", "name of v"):
        assert find([good, unfinished], what).id == "good"
        with pytest.raises(BackupNotFoundError, match=r"no finished backup.*unfinish.*its id"):
            find([unfinished], what)
    assert find([good, unfinished], "unf").id == "unfinished"
    assert ids(latest([good, unfinished])) == ["good"]


# What a caller can say about a name or a time


def test_an_ambiguous_name_comes_with_the_last_backup_of_each_volume() -> None:
    backups = [
        backup("v1", "v", stored=-4, name="n"),
        backup("w1", "w", stored=-3, name="n"),
        backup("v2", "v", stored=-2, name="n"),
    ]
    with pytest.raises(UsageError) as caught:
        find(backups, "n")
    assert isinstance(caught.value, AmbiguousNameError)
    assert ids(list(caught.value.candidates)) == ["w1", "v2"]


def test_a_time_before_the_first_backup_is_told_with_the_time_of_the_first() -> None:
    backups = [backup("a", stored=-3), backup("b", stored=-2, taken=-2.5)]
    with pytest.raises(NoBackupThenError, match="before the first backup of 'name of v'") as caught:
        find(backups, "name of v", at=NOW - timedelta(hours=9))
    assert caught.value.first == backups[0].taken_at
    with pytest.raises(BackupNotFoundError) as other:
        find(backups, "another", at=NOW - timedelta(hours=9))
    assert not isinstance(other.value, NoBackupThenError)
