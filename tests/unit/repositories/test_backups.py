"""Listing backups, and finding the one that a user names."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import Catalogue
from volflow.errors import (
    BackupNotFoundError,
    ConfigError,
    NoRepositoryError,
    RepositoryError,
    UsageError,
)
from volflow.movers.base import StoredBackup
from volflow.repositories.backups import Backups, find, latest, until
from volflow.repositories.opened import Repositories


def stored(backup: str, volume: str, name: str, day: int) -> StoredBackup:
    return StoredBackup(
        backup, datetime(2026, 1, day, tzinfo=UTC), {"volume": volume, "name": name}
    )


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
def test_a_backup_is_found_by_its_id_or_volume(what: str, backup: str) -> None:
    assert find(BACKUPS, what).id == backup


def test_a_volume_comes_before_the_beginning_of_an_id() -> None:
    backups = [*BACKUPS, stored("dd66", "vol-5", "aa", 6)]
    assert find(backups, "aa").id == "dd66"


@pytest.mark.parametrize(
    ("what", "says"),
    [("aa", "2 backups begin with 'aa'.*aa11, aa22"), ("twin", "2 volumes.*vol-3, vol-4")],
)
def test_an_ambiguous_name_is_refused(what: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        find(BACKUPS, what)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(BackupNotFoundError, match=r"'zz'.*backup list"):
        find(BACKUPS, "zz")


def test_latest_gives_the_last_backup_of_each_volume() -> None:
    assert [backup.id for backup in latest(BACKUPS)] == ["aa22", "bb33", "cc44", "cc55"]


def test_until_gives_the_backups_that_existed_at_a_moment() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    assert [backup.id for backup in until(BACKUPS, moment)] == ["aa11", "aa22"]
    assert until(BACKUPS, None) == BACKUPS


# Names change


def test_a_volume_is_found_by_a_name_that_it_had() -> None:
    backups = [*BACKUPS, stored("aa77", "vol-1", "new name", 7)]
    assert find(backups, "one").id == "aa77"
    assert find(backups, "new name").id == "aa77"


def test_the_present_name_of_a_volume_comes_before_a_former_one() -> None:
    backups = [
        *BACKUPS,
        stored("aa77", "vol-1", "one of old", 7),
        stored("ee88", "vol-6", "one", 8),
    ]
    assert find(backups, "one").id == "ee88"


def test_a_former_name_of_two_volumes_is_refused() -> None:
    backups = [
        stored("a1", "vol-1", "n", 1),
        stored("b2", "vol-2", "n", 2),
        stored("a3", "vol-1", "x", 3),
        stored("b4", "vol-2", "y", 4),
    ]
    with pytest.raises(UsageError, match=r"2 volumes named 'n'.*vol-1, vol-2"):
        find(backups, "n")


# The repositories of all projects


class Everywhere:
    """A context with a repository for each project; some cannot be used."""

    per_project = True

    def __init__(self) -> None:
        rows = [("alpha", "at alpha"), ("gone", "at gone"), ("moved", "elsewhere"), ("..", "x")]
        found = [SimpleNamespace(project_id=p, repository=r) for p, r in rows]
        self.catalogue = SimpleNamespace(list=lambda: found)

    def projects(self) -> list[str]:
        return ["admin", "alpha", "beta", "empty", "locked", "silent"]

    def of(self, project_id: str) -> Any:
        return Everybodys(project_id)


def everywhere() -> Backups:
    """The backups of that context."""
    there = Everywhere()
    return Backups(
        cast(Repositories, there),
        lambda: cast(Catalogue, there.catalogue),
        home=lambda: "admin",
        projects=there.projects,
    )


class Everybodys:
    """The repository of a project."""

    def __init__(self, project_id: str) -> None:
        self._project_id = project_id

    @property
    def location(self) -> str:
        if self._project_id == "..":
            raise ConfigError("is not the id of a project")
        return f"at {self._project_id}"

    def backups(self) -> list[StoredBackup]:
        match self._project_id:
            case "admin" | "locked" | "silent":
                raise ConfigError("there is no password file")
            case "gone" | "told" | "empty":
                raise NoRepositoryError("there is no repository")
        one = stored(f"of {self._project_id}", "volume", "name", 1)
        return [StoredBackup(one.id, one.created_at, {**one.tags, "project": self._project_id})]

    def exists(self) -> bool:
        if self._project_id == "silent":
            raise RepositoryError("cannot be reached")
        assert self._project_id != "empty"
        return self._project_id == "locked"


def test_all_projects_with_a_repository_are_covered() -> None:
    """Only a repository that does not exist, and that is not known from earlier, is ignored."""
    found, troubles = everywhere().look_everywhere(["told"])
    assert [backup.id for backup in found] == ["of alpha", "of beta"]
    assert {project: str(error) for project, error in troubles.items()} == {
        "gone": "there is no repository",
        "told": "there is no repository",
        "locked": "there is no password file",
        "silent": "there is no password file",
    }
