"""A restore of all brings back the volumes that existed at that time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest

from volflow.errors import BackupNotFoundError, RepositoryError, UsageError
from volflow.movers.base import StoredBackup
from volflow.plans.restore_source import Chosen, choose, notes_on_backups
from volflow.plans.selection import Selection
from volflow.repositories.backups import Backups, NoBackupThenError
from volflow.repositories.manifest import Manifest


def stored(
    volume: str, day: int, run: str, whole: str = "", project: str = "p", group: str = ""
) -> StoredBackup:
    tags = {"volume": volume, "name": f"name of {volume}", "project": project, "run": run}
    created_at = datetime(2026, 1, day, tzinfo=UTC)
    return StoredBackup(f"{volume}{day}", created_at, tags | {"whole": whole, "group": group})


def chosen(
    backups: list[StoredBackup], selection: Selection | None = None, day: int | None = None
) -> Chosen:
    return choose(
        cast(Backups, None),
        backups,
        selection or Selection(everything=True),
        projects={"p"},
        at=datetime(2026, 1, day, tzinfo=UTC) if day else None,
    )


def ids(backups: list[StoredBackup], **arguments: object) -> set[str]:
    return {backup.id for backup in chosen(backups, **arguments).backups}  # type: ignore[arg-type]


def with_tags(backup: StoredBackup, **tags: str) -> StoredBackup:
    return StoredBackup(backup.id, backup.created_at, {**backup.tags, **tags})


DELETED_BEFORE_THE_3RD = [
    stored("a", 1, "r1", "2"),
    stored("b", 1, "r1", "2"),
    stored("a", 3, "r2", "1"),
]


def test_a_volume_deleted_before_the_last_complete_run_is_not_restored() -> None:
    found = chosen(DELETED_BEFORE_THE_3RD)
    assert [backup.id for backup in found.backups] == ["a3"]
    (left,) = found.left_out
    assert (left.volume_id, left.name, left.wanted) == ("b", "name of b", False)
    assert "no longer existed when run r2" in left.reason
    assert "its last backup is b1 of 2026-01-01T00:00:00+00:00" in left.reason


def test_a_run_is_whole_if_the_missing_volume_was_deleted_before_its_turn() -> None:
    before = [stored("a", 1, "r1", "2"), stored("b", 1, "r1", "2")]
    assert ids([*before, stored("a", 3, "r2", "2")]) == {"a3", "b1"}
    assert ids([*before, with_tags(stored("a", 3, "r2", "2"), gone="b")]) == {"a3"}


def test_an_unfinished_backup_keeps_a_run_from_being_whole() -> None:
    before = [stored("a", 1, "r1", "3"), stored("b", 1, "r1", "3"), stored("c", 1, "r1", "3")]
    night = [stored("a", 3, "r2", "2"), stored("b", 3, "r2", "2")]
    assert ids([*before, *night]) == {"a3", "b3"}
    night[1] = with_tags(night[1], state="unchecked")
    assert ids([*before, *night]) == {"a3", "b1", "c1"}


def test_a_volume_with_unfinished_backups_alone_is_left_out_as_trouble() -> None:
    unfinished = with_tags(stored("b", 2, "two"), state="unchecked")
    found = chosen([stored("a", 1, "one"), unfinished])
    assert [backup.id for backup in found.backups] == ["a1"]
    (left_out,) = found.left_out
    assert left_out.wanted
    assert "has no finished backup" in left_out.reason
    later = [stored("a", 1, "one"), stored("b", 1, "one"), unfinished]
    assert ids(later) == {"a1", "b1"}
    assert chosen(later).left_out == []


def test_a_run_of_the_future_does_not_show_what_existed() -> None:
    before = [stored("a", 1, "r1", "2"), stored("b", 1, "r1", "2")]
    later = with_tags(stored("a", 3, "r2", "1"), taken="2999-01-01T00:00:00Z")
    assert ids([*before, later]) == {"a1", "b1"}


def test_a_backup_of_the_future_is_told_though_another_one_is_chosen() -> None:
    backups = [stored("a", 1, "r1"), stored("b", 1, "r1"), stored("a", 2, "r2")]
    backups[2] = with_tags(backups[2], taken="2999-01-01T00:00:00Z")
    chosen_now = chosen(backups).backups
    assert {one.id for one in chosen_now} == {"a1", "b1"}
    (line,) = notes_on_backups(backups, chosen_now)
    assert "Backup a2 of name of a is of the future (2999-01-01" in line
    assert notes_on_backups(backups, [backups[1]]) == []


def test_a_time_before_all_backups_is_told_with_the_first() -> None:
    with pytest.raises(
        NoBackupThenError, match=r"2025-12-31.* is before the first backup.*2026-01-01"
    ):
        choose(
            cast(Backups, None),
            DELETED_BEFORE_THE_3RD,
            Selection(everything=True),
            projects={"p"},
            at=datetime(2025, 12, 31, tzinfo=UTC),
        )


def test_an_earlier_time_brings_back_what_was_deleted_later() -> None:
    assert ids(DELETED_BEFORE_THE_3RD, day=2) == {"a1", "b1"}


def test_backups_after_the_last_complete_run_are_restored() -> None:
    backups = [*DELETED_BEFORE_THE_3RD, stored("c", 4, "r3"), stored("a", 5, "r4")]
    assert ids(backups) == {"a5", "c4"}


def test_a_run_of_which_a_backup_is_missing_is_not_complete() -> None:
    """The volume may have failed in that run."""
    backups = [
        stored("a", 1, "r1", "2"),
        stored("b", 1, "r1", "2"),
        stored("a", 3, "r2", "2"),
    ]
    assert ids(backups) == {"a3", "b1"}


def test_the_last_complete_run_counts_and_not_one_before_it() -> None:
    backups = [
        *(stored(volume, 1, "r1", "3") for volume in "abc"),
        *(stored(volume, 2, "r2", "2") for volume in "ab"),
        stored("a", 3, "r3", "2"),
    ]
    assert ids(backups) == {"a3", "b2"}


def test_a_run_without_a_valid_count_is_not_complete() -> None:
    """Backups of an older volflow have no count, and a tag written by hand can be wrong."""
    for whole in ("", "x", "-1", "9" * 5000, "\N{SUPERSCRIPT TWO}"):
        backups = [stored("a", 1, "r1", whole), stored("b", 2, "r2", whole)]
        assert ids(backups) == {"a1", "b2"}


def test_a_complete_run_of_one_project_does_not_affect_another() -> None:
    backups = [stored("a", 1, "r1"), stored("b", 3, "r2", "1", project="other")]
    assert ids(backups, selection=Selection(all_tenants=True)) == {"a1", "b3"}


def test_an_error_says_that_no_backup_matches() -> None:
    with pytest.raises(BackupNotFoundError, match="No backup matches the selection"):
        chosen(DELETED_BEFORE_THE_3RD, Selection(everything=True, exclude=("a",)))


# Groups


def test_a_volume_that_has_left_the_group_is_left_out() -> None:
    backups = [
        *(stored(volume, 1, "r1", group="g") for volume in "ab"),
        stored("a", 2, "r2", group="g"),
        stored("b", 2, "r3"),
    ]
    found = chosen(backups, Selection(groups=("g",)))
    assert [backup.id for backup in found.backups] == ["a2"]
    (left,) = found.left_out
    assert left.volume_id == "b"
    assert "has left group g since its backup b1" in left.reason
    assert not left.wanted


def test_a_deleted_volume_of_the_group_is_left_out() -> None:
    backups = [
        *(stored(volume, 1, "r1", group="g") for volume in "ab"),
        stored("a", 2, "r2", "1", group="g"),
    ]
    found = chosen(backups, Selection(groups=("g",)))
    assert [backup.id for backup in found.backups] == ["a2"]
    assert "no longer existed" in found.left_out[0].reason


def test_a_deleted_group_is_restored_as_of_its_last_backup() -> None:
    """Later complete runs do not count, only the last one that covered the group."""
    backups = [
        *(stored(volume, 1, "r1", "4", group="g") for volume in "abc"),
        stored("x", 1, "r1", "4"),
        *(stored(volume, 2, "r2", "3", group="g") for volume in "ab"),
        stored("x", 3, "r2", "3"),
        stored("x", 4, "r3", "1"),
    ]
    found = chosen(backups, Selection(groups=("g",)))
    assert [backup.id for backup in found.backups] == ["a2", "b2"]
    assert [left.volume_id for left in found.left_out] == ["c"]
    assert "run r2" in found.left_out[0].reason


# Filters


class Damaged(Backups):
    """Backups; the manifest of b cannot be read."""

    def __init__(self) -> None:
        """Reads no repository."""

    def manifests(self, backups):  # type: ignore[no-untyped-def]
        volume = {"id": "a", "name": "", "metadata": {"k": "v"}, "volume_type": "fast"}
        good = Manifest("", volume, {}, {}, {}, {}, ())
        found = {backup.id: good for backup in backups if backup.tags["volume"] != "b"}
        return found, {"b1": RepositoryError("damaged")}


def test_a_damaged_manifest_leaves_out_only_its_own_volume() -> None:
    backups = [stored("a", 1, "r"), stored("b", 1, "r")]
    selection = Selection(everything=True, metadata={"k": "v"})
    found = choose(Damaged(), backups, selection, projects={"p"}, at=None)
    assert [backup.id for backup in found.backups] == ["a1"]
    (left,) = found.left_out
    assert (left.volume_id, left.reason, left.wanted) == ("b", "damaged", True)


def test_a_filter_that_matches_no_backup_is_an_error() -> None:
    backups = [stored("a", 1, "r"), stored("b", 1, "r")]
    with pytest.raises(UsageError, match="No volume matches --name 'wbe'"):
        chosen(backups, Selection(everything=True, name=["*", "wbe"]))
    found = chosen(backups, Selection(everything=True, exclude=("wbe",)))
    assert found.notes == ["--exclude 'wbe' matches no volume; is it misspelled?"]
