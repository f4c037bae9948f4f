"""A backup records unreadable files, and a run that ends early leaves no backup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from persistence import State
from volflow.disk.filesystem import FileSystem
from volflow.movers.base import Saved, StoredBackup
from volflow.repositories.manifest import Manifest, Region
from volflow.results.outcome import Figures
from volflow.tasks.save import Save
from volflow.tasks.work import Work

VOLUME = {"id": str(UUID(int=1)), "name": "v", "volume_type": "t", "availability_zone": "nova"}
MANIFEST = Manifest(
    "r",
    VOLUME | {"metadata": {}},
    {},
    {},
    {},
    {"created_at": "2026-11-01T00:00:00", "size": 1},
    (Region("regions/0", 1, FileSystem("ext4", "")),),
)


class Repository:
    """Stores no data, and reports these files as unreadable.

    :param unread: the unreadable paths of each save, in order
    """

    def __init__(self, *unread: Sequence[str]) -> None:
        self.unread = list(unread)
        self.stored: list[StoredBackup] = []
        self.parents: list[str | None] = []

    def save(self, *_: Any, tags: Mapping[str, str], parent_id: str | None, **__: Any) -> Saved:
        if not self.unread:
            raise KeyboardInterrupt
        self.parents.append(parent_id)
        self.stored.append(StoredBackup(f"s{len(self.stored)}", datetime.now(UTC), tags))
        unread = tuple(f"regions/0{path}" for path in self.unread.pop(0))
        figures = Figures(files_new=5 - 5 * bool(parent_id), bytes_stored=10)
        return Saved(self.stored[-1].id, figures, unread)

    def backups(self) -> list[StoredBackup]:
        return self.stored[-1:]

    def forget(self, backup_id: str) -> None:
        assert backup_id == self.stored[-1].id
        self.stored.clear()

    def unlock(self) -> None:
        """Do nothing: no lock exists."""


class Mounted:
    """The part of a namespace that saving a manifest needs."""

    root = Path("/m")

    def __init__(self) -> None:
        self.manifests: list[Manifest] = []

    def write(self, path: Path, text: str) -> None:
        self.manifests.append(Manifest.from_json(text))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.sqlite", migrate=True) as found:
        yield found


def _save(state: State, repository: Repository) -> Save:
    run = state.runs.create("backup", {}, [("v", "n")], host="h", boot_id="b", pid=1)
    services = SimpleNamespace(run_id=run.id, ledger=state.ledger, stopping=None)
    both = cast(Any, repository)
    return Save(Work(cast(Any, services), "v", cast(Any, None), both, both))


def _stored(save: Save, where: Mounted) -> Saved:
    save.intend()
    tags = {"run": save.services.run_id, "volume": "v"}
    return save._store(cast(Any, where), MANIFEST, tags, None)


def test_a_backup_without_unread_files_is_complete(state: State) -> None:
    repository, where = Repository([]), Mounted()
    saved = _stored(_save(state, repository), where)
    assert (saved.id, saved.unread) == ("s0", ())
    assert [one.unread for one in where.manifests] == [()]
    assert repository.stored[0].outcome == "complete"


def test_a_backup_records_the_files_that_were_not_read(state: State) -> None:
    repository, where = Repository(["/a"], ["/a"]), Mounted()
    saved = _stored(_save(state, repository), where)
    assert (saved.id, saved.unread) == ("s1", ("/a",))
    assert where.manifests[-1].unread == ("/a",)
    assert (repository.stored[-1].outcome, repository.stored[-1].unread) == ("partial", 1)
    assert repository.parents == [None, "s0"]
    # The second save copies no data again.
    assert saved.figures == Figures(files_new=5, bytes_stored=20)


def test_files_that_only_the_second_save_cannot_read_are_recorded_too(state: State) -> None:
    repository, where = Repository(["/a"], ["/b"], ["/b"]), Mounted()
    saved = _stored(_save(state, repository), where)
    assert saved.unread == where.manifests[-1].unread == ("/a", "/b")


def test_a_save_interrupted_before_its_second_backup_is_undone(state: State) -> None:
    """A backup that looks complete but is not must not stay."""
    repository = Repository(["/a"])
    save = _save(state, repository)
    with pytest.raises(KeyboardInterrupt):
        _stored(save, Mounted())
    save.revert()
    assert repository.stored == []
    assert state.ledger.open() == []


@pytest.mark.parametrize("unread", [[[]], [["/a"], ["/a"]]])
def test_a_save_is_undone_after_the_backup_was_stored(
    state: State, unread: list[list[str]]
) -> None:
    repository = Repository(*unread)
    save = _save(state, repository)
    _stored(save, Mounted())
    save.revert()
    assert len(repository.stored) == len(unread)
