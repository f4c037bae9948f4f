"""A copy is a backup if there is a verdict on it; what nothing needs any more goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from volflow.movers.base import StoredBackup
from volflow.movers.verdicts import Listing, tags_of_copy, tags_of_note, tags_of_verdict
from volflow.results.outcome import Outcome

NOW = datetime.now(UTC)
A_DAY = timedelta(days=1, minutes=1)


def copy(number: int, run: str = "r", volume: str = "v", *, age: timedelta = A_DAY) -> StoredBackup:
    tags = {"run": run, "volume": volume, "project": "p"}
    return StoredBackup(f"{number:064}"[::-1], NOW - age, tags_of_copy(tags))


def verdict(on: StoredBackup, *, beginning: int = 64, **tags: str) -> StoredBackup:
    found = tags_of_verdict(on.id[:beginning], {**on.tags, **tags})
    return StoredBackup(f"verdict on {on.id}", on.created_at, found)


def kept(*stored: StoredBackup, abandoned: bool = False) -> set[str]:
    useless = Listing(stored).useless(lambda _: abandoned)
    return {one.id for one in stored} - set(useless)


def test_a_verdict_by_the_beginning_of_an_id_is_enough() -> None:
    """Old versions of restic print no more of the id of what they have stored."""
    one = copy(1)
    (found,) = Listing((verdict(one, beginning=8, unread="2"), one)).backups
    assert (found.id, found.outcome, found.unread) == (one.id, Outcome.PARTIAL, 2)
    assert "state" not in found.tags


def test_a_verdict_holds_for_a_copy_that_has_got_another_id() -> None:
    """``restic copy`` to another repository, and ``restic tag``."""
    one = copy(1)
    moved = StoredBackup("f" * 64, one.created_at, {**one.tags, "original": one.id})
    (found,) = Listing((moved, verdict(one))).backups
    assert (found.id, found.finished) == (moved.id, True)
    assert Listing((moved, verdict(one))).family(moved.id) == [moved.id, verdict(one).id]
    assert kept(moved, verdict(one)) == {moved.id, verdict(one).id}


def test_a_verdict_on_a_copy_of_another_run_or_volume_says_nothing() -> None:
    one = copy(1)
    for odd in ({"run": "s"}, {"volume": "w"}):
        (found,) = Listing((one, verdict(one, **odd))).backups
        assert not found.finished
    # A tag on the copy is no verdict.
    forged = StoredBackup(one.id, one.created_at, {**one.tags, "checked": "x", "gone": "w"})
    (found,) = Listing((forged,)).backups
    assert not found.finished
    assert not {"checked", "gone"} & found.tags.keys()


def test_a_copy_of_the_first_release_is_what_it_was() -> None:
    old = StoredBackup("old", NOW, {"run": "r", "volume": "v", "unread": "1"})
    assert Listing((old,)).backups == [old]
    assert old.outcome is Outcome.PARTIAL


def test_the_first_release_takes_no_verdict_and_no_note_for_a_backup() -> None:
    tags = [tags_of_verdict("x", copy(1).tags), tags_of_note("r", "v", "p")]
    # It reads only what has a volume.
    assert not any("volume" in each for each in tags)
    # restic's 'latest' of a volume's name is its data.
    assert not any("name" in each for each in tags)


def test_pruning_keeps_what_may_still_become_a_backup() -> None:
    one, young = copy(1), copy(2, age=timedelta(hours=1))
    assert kept(one) == {one.id}
    assert kept(one, abandoned=True) == set()
    assert kept(one, verdict(one), abandoned=True) == {one.id, verdict(one).id}
    # Another host may be storing the copy that this listing lacks.
    assert kept(verdict(young)) == {verdict(young).id}
    assert kept(verdict(one)) == set()


def test_pruning_removes_a_copy_that_a_later_one_replaced() -> None:
    first, again = copy(1), copy(2, age=timedelta(hours=1))
    assert kept(first, again, verdict(again)) == {again.id, verdict(again).id}
    assert kept(first, verdict(first), again) == {first.id, verdict(first).id}


def test_a_note_stays_as_long_as_its_run_has_a_backup() -> None:
    note = StoredBackup("note", NOW - A_DAY, tags_of_note("r", "w", "p"))
    one = copy(1)
    assert kept(note, one, verdict(one)) == {"note", one.id, verdict(one).id}
    assert kept(note, copy(1, run="s")) == {copy(1, run="s").id}
    (found,) = Listing((note, one, verdict(one))).backups
    assert found.tags["gone"] == "w"
