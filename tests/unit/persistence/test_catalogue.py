"""The catalogue of backups."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from persistence import Ambiguous, Backup, NotFound, State

_NOW = datetime(2026, 5, 4, 3, 2, 1, 123456, UTC)


def backup(id: str, hours: int = 0, *, repository: str = "repo", volume: str = "v") -> Backup:
    return Backup(
        id=id,
        repository=repository,
        volume_id=volume,
        volume_name="näme",
        project_id=f"project of {volume}",
        size_gib=3,
        created_at=_NOW + timedelta(hours=hours),
        run_id="r",
        parent_id=None,
        outcome="complete",
        figures={"files": 2**40},
    )


def ids(backups: list[Backup]) -> list[str]:
    return [backup.id for backup in backups]


def test_what_is_added_is_found(state: State) -> None:
    one = backup("one")
    state.catalogue.add(one)
    assert state.catalogue.get("one") == one
    assert state.catalogue.list() == [one]


def test_adding_twice_replaces(state: State) -> None:
    state.catalogue.add(backup("one"))
    state.catalogue.add(backup("one"))
    changed = replace(backup("one"), outcome="partial", parent_id="zero", figures={})
    state.catalogue.add(changed)
    assert state.catalogue.list() == [changed]


def test_a_naive_time_is_refused(state: State) -> None:
    with pytest.raises(ValueError, match="time zone"):
        state.catalogue.add(replace(backup("one"), created_at=datetime(2026, 1, 1)))
    assert state.catalogue.list() == []


def test_a_backup_is_found_by_an_unambiguous_prefix(state: State) -> None:
    for one in (backup("abc"), backup("abd", 1), backup("abd", repository="other")):
        state.catalogue.add(one)
    assert state.catalogue.get("abc").id == "abc"
    assert state.catalogue.get("abd", "other").repository == "other"
    with pytest.raises(Ambiguous) as caught:
        state.catalogue.get("ab", "repo")
    assert caught.value.matches == ("abd", "abc")
    with pytest.raises(Ambiguous) as caught:
        state.catalogue.get("abd")
    assert caught.value.matches == ("abd in repo", "abd in other")
    for nothing in ("x", ""):
        with pytest.raises(NotFound):
            state.catalogue.get(nothing)
    with pytest.raises(NotFound):
        state.catalogue.get("abc", "other")


def test_backups_are_listed_newest_first(state: State) -> None:
    for one in (
        backup("old", 0),
        backup("new", 2),
        backup("mid", 1),
        backup("else", 9, repository="other"),
        backup("w", 5, volume="w"),
    ):
        state.catalogue.add(one)
    listed = state.catalogue.list
    assert ids(listed()) == ["else", "w", "new", "mid", "old"]
    assert ids(listed(limit=2)) == ["else", "w"]
    assert ids(listed(volume_id="v", repository="repo")) == ["new", "mid", "old"]
    assert ids(listed(project_id="project of w")) == ["w"]
    assert ids(listed(volume_id="v", before=_NOW + timedelta(hours=1))) == ["mid", "old"]
    latest = state.catalogue.latest("v", "repo")
    assert latest is not None
    assert latest.id == "new"
    assert state.catalogue.latest("nothing", "repo") is None


def test_a_backup_is_removed_from_its_own_repository_only(state: State) -> None:
    state.catalogue.add(backup("one"))
    state.catalogue.add(backup("one", repository="other"))
    state.catalogue.remove("one", "repo")
    state.catalogue.remove("one", "repo")
    assert [one.repository for one in state.catalogue.list()] == ["other"]


def test_replace_is_all_or_nothing(state: State) -> None:
    other = backup("keep", repository="other")
    state.catalogue.add(other)
    state.catalogue.add(backup("stale"))
    state.catalogue.replace("repo", [backup("a"), backup("b", 1)])
    assert ids(state.catalogue.list(repository="repo")) == ["b", "a"]
    for wrong, message in (
        ([backup("c"), backup("d", repository="other")], "not in"),
        ([backup("c"), backup("c")], "same id"),
        ([backup("c"), replace(backup("d"), created_at=datetime(2026, 1, 1))], "time zone"),
    ):
        with pytest.raises(ValueError, match=message):
            state.catalogue.replace("repo", wrong)
        assert ids(state.catalogue.list(repository="repo")) == ["b", "a"]
    state.catalogue.replace("repo", [])
    assert state.catalogue.list() == [other]


def test_rebuilding_while_backups_come_and_go(state: State) -> None:
    problems: list[BaseException] = []
    barrier = threading.Barrier(4)

    def come_and_go() -> None:
        state.catalogue.add(backup("one"))
        state.catalogue.remove("one", "repo")

    def rebuild() -> None:
        state.catalogue.replace("repo", [backup("one"), backup("two")])

    def work(action: Callable[[], None]) -> None:
        try:
            barrier.wait()
            for _ in range(60):
                action()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            problems.append(error)

    actions = (come_and_go, come_and_go, rebuild, rebuild)
    threads = [threading.Thread(target=work, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    rebuild()
    assert set(ids(state.catalogue.list())) == {"one", "two"}
