"""A restore by name or date takes the last complete backup, and names what it passes over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from tests.unit.plans.test_restore_source import chosen, stored, with_tags
from volflow.movers.base import StoredBackup
from volflow.plans.named import find_named
from volflow.plans.restore_source import choose, notes_on_backups
from volflow.plans.selection import Selection
from volflow.repositories.backups import Backups


def partial(backup: StoredBackup, unread: int = 1, **tags: str) -> StoredBackup:
    return with_tags(backup, unread=str(unread), **tags)


A = [
    stored("a", 1, "r1"),
    stored("a", 2, "r2"),
    partial(stored("a", 3, "r3")),
    partial(stored("a", 4, "r4")),
]
B = [partial(stored("b", 1, "r1"))]


def test_the_last_complete_backup_is_taken_and_later_ones_are_named() -> None:
    for selection in (Selection(everything=True), Selection(volumes=("a",))):
        found = chosen(A, selection)
        assert [one.id for one in found.backups] == ["a2"]
        (note,) = found.notes
        assert "a2 of 2026-01-02" in note
        assert "partial: a3 of 2026-01-03T00:00:00+00:00, a4 of 2026-01-04" in note
    found = chosen(A, Selection(volumes=("name of a",)), day=3)
    assert [one.id for one in found.backups] == ["a2"]
    assert "a4" not in found.notes[0]


def test_a_backup_named_by_its_id_is_taken_as_it_is() -> None:
    for selection in ("a4", "a3"):
        found = chosen(A, Selection(volumes=(selection,)))
        assert [one.id for one in found.backups] == [selection]
        assert found.notes == []


def test_a_partial_backup_is_taken_if_that_is_allowed() -> None:
    for selection in (Selection(everything=True), Selection(volumes=("a",))):
        found = choose(cast(Backups, None), A, selection, projects={"p"}, at=None, partial=True)
        assert [one.id for one in found.backups] == ["a4"]
        assert found.notes == []


def test_a_volume_with_partial_backups_alone_comes_back() -> None:
    found = chosen([*A, *B])
    assert [one.id for one in found.backups] == ["a2", "b1"]
    assert len(found.notes) == 1


def test_a_volume_that_was_partial_in_a_whole_run_has_not_been_deleted() -> None:
    """Its last complete backup is older than the run, which has seen it nevertheless."""
    before = [stored("a", 1, "r1", "2"), stored("b", 1, "r1", "2")]
    night = [stored("a", 3, "r2", "2"), partial(stored("b", 3, "r2", "2"))]
    found = chosen([*before, *night])
    assert [one.id for one in found.backups] == ["a3", "b1"]
    assert found.left_out == []


def test_a_member_comes_back_as_it_was_in_its_group() -> None:
    backups = [
        stored("a", 1, "r1", group="g"),
        stored("a", 2, "r2"),
        partial(stored("a", 3, "r3", group="g")),
    ]
    assert [one.id for one in chosen(backups, Selection(groups=("g",))).backups] == ["a1"]
    assert [one.id for one in chosen(backups).backups] == ["a2"]


def test_what_is_not_a_restore_still_finds_the_last_backup() -> None:
    assert find_named(A, "a", exists=lambda _: None).backup.id == "a4"
    found = find_named(A, "a", exists=lambda _: None, complete=True)
    assert found.backup.id == "a2"
    assert found.note is not None


def test_neither_the_future_nor_another_project_is_taken_instead() -> None:
    last = partial(stored("a", 4, "r4"))
    others = [
        stored("a", 1, "r1", project="other"),
        with_tags(stored("a", 2, "r2"), state="unchecked"),
        with_tags(stored("a", 3, "r3"), taken="2999-01-01T00:00:00Z"),
    ]
    assert [one.id for one in chosen([*others, last]).backups] == ["a4"]


def test_a_restore_says_that_a_backup_has_far_fewer_files() -> None:
    few = partial(stored("a", 5, "r5"), files="10", files_before="1000")
    (note,) = notes_on_backups([*A, few], [few])
    assert "Files in it: 10; in the last complete one before it: 1,000." in note


def test_the_moment_bounds_which_complete_backup_counts() -> None:
    found = choose(
        cast(Backups, None),
        [A[2], stored("a", 5, "r5")],
        Selection(everything=True),
        projects={"p"},
        at=datetime(2026, 1, 4, tzinfo=UTC),
    )
    assert [one.id for one in found.backups] == ["a3"]
