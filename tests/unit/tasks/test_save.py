"""A copy becomes a backup when it is known which files could not be read, and not before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from persistence import State
from volflow.disk import attributes
from volflow.disk.filesystem import FileSystem
from volflow.disk.regions import whole
from volflow.disk.survey import Survey
from volflow.errors import RepositoryError
from volflow.host.identity import Process
from volflow.movers.base import Saved, StoredBackup
from volflow.movers.verdicts import Listing, tags_of_copy, tags_of_verdict
from volflow.repositories.manifest import Manifest
from volflow.results.outcome import Figures, Outcome, full_read_of
from volflow.runs.volume_result import _RunLedger
from volflow.tasks import save
from volflow.tasks.save import Save
from volflow.tasks.work import Work

VOLUME = str(UUID(int=1))
DESCRIPTION = {
    "volume": {
        "id": VOLUME,
        "name": "v",
        "volume_type": "t",
        "availability_zone": "nova",
        "metadata": {},
    },
    "volume_type": {},
    "encryption": {},
    "group": {},
}
SNAPSHOT = {"created_at": "2026-11-01T00:00:00.000000", "size": 1}
TAKEN = datetime(2026, 11, 1, tzinfo=UTC)


class Killed(BaseException):
    """The process is killed here: nothing is reverted."""


class Repository:
    """Keeps tags, and reports these files as unreadable.

    :ivar killed: where the next process is killed: "save", "stored" or "confirmed"
    :ivar lost: the storage has lost everything that the list still shows
    """

    location = "here"

    def __init__(self, *unread: str) -> None:
        self.unread: Sequence[str] = unread
        self.stored: list[StoredBackup] = []
        self.manifests: dict[str, Manifest] = {}
        self.parents: list[str | None] = []
        self.listed_at: list[datetime] = []
        self.killed = ""
        self.locked = self.loses = self.lost = False
        self.unlocked = 0
        self.looked = 0
        self.files = 5
        self.names = ["regions/0", "regions/0/stored"]

    def nodes(self, backup_id: str, path: Path) -> list[SimpleNamespace]:
        return [SimpleNamespace(path=f"/{name}") for name in self.names]

    def _add(self, tags: Mapping[str, str], listed_at: datetime) -> str:
        found = StoredBackup(f"{len(self.stored):08}", datetime.now(UTC), dict(tags))
        self.stored.append(found)
        self.listed_at.append(listed_at)
        return found.id

    def save(self, namespace: Any, *_: Any, **options: Any) -> Saved:
        if self.killed == "save":
            raise Killed
        if self.killed == "failed":
            raise RepositoryError("It is away.")
        self.parents.append(options["parent_id"])
        copy_id = self._add(tags_of_copy(options["tags"]), options["listed_at"])
        self.manifests[copy_id] = namespace.manifest
        if self.killed == "stored":
            raise Killed
        unread = tuple(f"regions/0{path}" for path in self.unread)
        return Saved(copy_id, Figures(files_new=self.files, bytes_stored=10), unread)

    def confirm(self, namespace: Any, copy_id: str, **options: Any) -> bool:
        if self.killed == "unconfirmed":
            raise Killed
        verdict = self._add(tags_of_verdict(copy_id, options["tags"]), options["listed_at"])
        self.manifests[verdict] = namespace.manifest
        if self.killed == "confirmed":
            raise Killed
        if self.lost:
            raise RepositoryError("It does not have it.")
        return self.loses

    def backups(self) -> list[StoredBackup]:
        self.looked += 1
        return Listing(tuple(self.stored)).backups

    def holds(self, backup: StoredBackup) -> bool:
        return not self.lost

    def forget(self, backup_id: str) -> None:
        if self.locked:
            raise RepositoryError("It is locked.")
        going = Listing(tuple(self.stored)).family(backup_id)
        self.stored = [one for one in self.stored if one.id not in going]

    def unlock(self, owners: Sequence[Process] = (), others: Sequence[Process] = ()) -> None:
        self.unlocked += 1


class Mounted:
    """The part of a namespace that saving a manifest needs."""

    root = Path("/m")
    manifest: Manifest

    def run(self, *command: Any, stdin: str = "") -> str:
        """The paths that end with "dir" are directories, and so is the tree."""
        if attributes.__file__ in command:
            return json.dumps({"found": {}, "left_out": {}, "encrypted": []})
        if "--file-system" in command:
            return "4096 100 90 1000 989"
        paths = stdin.split("\0")[:-1]
        return json.dumps([path for path in paths if path.endswith(("dir", "regions/0"))])

    def write(self, path: Path, text: str) -> None:
        self.manifest = Manifest.from_json(text)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    monkeypatch.setattr(save, "bytes_read", lambda device: 0)
    with State.open(f"sqlite:///{tmp_path}/state.sqlite", migrate=True) as found:
        yield found


class Run:
    """A run that saves one volume, in as many processes as it takes."""

    def __init__(self, state: State, repository: Repository) -> None:
        self._state, self._repository = state, repository
        self.parent: StoredBackup | None = StoredBackup(
            "parent", TAKEN, {"taken": "2026-10-31T00:00:00Z"}
        )
        self.id = state.runs.create("backup", {}, [(VOLUME, "n")], host="h", boot_id="b", pid=1).id

    def step(self) -> Save:
        services = SimpleNamespace(
            run_id=self.id,
            ledger=self._state.ledger,
            catalogue=self._state.catalogue,
            stopping=None,
            patience=0.0,
            volumes_in_project={},
            parents={VOLUME: self.parent} if self.parent else {},
            full_every=timedelta(),
            numbers={VOLUME: 6},
        )
        both = cast(Any, self._repository)
        work = Work(cast(Any, services), VOLUME, cast(Any, None), both, both)
        work.namespace = cast(Any, Mounted())
        work.disk = whole(FileSystem("ext4", ""), 1)
        work.increment = replace(work.plan_increment(SNAPSHOT, ""), surveys=(Survey(),))
        return Save(work)

    def save(self, killed: str = "") -> dict[str, Any]:
        """Save the volume in a process of its own, which may be killed."""
        self._repository.killed = killed
        return self.step().execute(DESCRIPTION, SNAPSHOT, "/dev/x")

    def kill(self, killed: str) -> None:
        with pytest.raises(Killed):
            self.save(killed)

    @property
    def counts(self) -> bool:
        """Whether the result of the run has a backup."""
        return bool(_RunLedger(self._state.ledger, self.id).saved(VOLUME))


def outcomes(repository: Repository) -> list[Outcome]:
    return [one.outcome for one in repository.backups()]


def test_a_backup_without_unread_files_is_complete(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    saved = run.save()
    (backup,) = repository.backups()
    assert (backup.id, backup.outcome) == (saved["id"], Outcome.COMPLETE)
    assert (backup.taken_at, backup.number) == (TAKEN, 7)
    assert repository.listed_at == [TAKEN, TAKEN]
    assert repository.parents == ["parent"]
    (row,) = state.catalogue.list()
    assert (row.id, row.created_at, row.outcome) == (saved["id"], TAKEN, "complete")
    assert full_read_of(row.figures) == datetime(2026, 10, 31, tzinfo=UTC).timestamp()
    assert run.counts
    assert state.ledger.open() == []


def test_a_resumed_full_read_is_not_compared_with_an_incremental_copy(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    run.kill("stored")
    # Another process finds that it must read everything.
    run.parent = None
    run.save()
    assert repository.parents == ["parent", None]
    (backup,) = repository.backups()
    assert backup.full_at == TAKEN


def test_a_resumed_full_read_does_not_begin_again(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    run.parent = None
    run.kill("stored")
    run.save()
    assert repository.parents == [None, "00000000"]
    (backup,) = repository.backups()
    assert backup.full_at == TAKEN


def test_a_lock_is_looked_for_where_the_storage_has_lost_something(state: State) -> None:
    """A proxy that takes a verdict and loses it can do the same with the removal of a lock."""
    repository = Repository()
    Run(state, repository).save()
    assert repository.unlocked == 0
    repository.loses = True
    Run(state, repository).save()
    assert repository.unlocked == 1
    assert state.ledger.open() == []


def test_a_backup_records_the_files_that_were_not_read(state: State) -> None:
    repository = Repository("/a", "/b")
    saved = Run(state, repository).save()
    (backup,) = repository.backups()
    assert (backup.outcome, backup.unread) == (Outcome.PARTIAL, 2)
    assert saved["unread"] == ("/a", "/b")
    assert repository.manifests[backup.verdict_id].unread == ("/a", "/b")
    # The volume is stored once.
    assert len(repository.parents) == 1


@pytest.mark.parametrize("killed", ["stored", "unconfirmed"])
def test_a_killed_copy_is_unfinished_until_a_resume(state: State, killed: str) -> None:
    repository = Repository("/a")
    run = Run(state, repository)
    run.kill(killed)
    assert outcomes(repository) == [Outcome.UNFINISHED]
    assert not run.counts
    run.kill("save" if killed == "stored" else "unconfirmed")
    assert outcomes(repository) == [Outcome.UNFINISHED]
    assert tuple(run.save()["unread"]) == ("/a",)
    assert outcomes(repository) == [Outcome.PARTIAL]
    assert run.counts
    # The errors were lost with the first process, or the ledger had them.
    assert repository.parents == (["parent", "00000000"] if killed == "stored" else ["parent"])
    assert max(repository.listed_at) == TAKEN + timedelta(seconds=killed == "stored")


def test_a_backup_with_a_verdict_is_not_stored_again(state: State) -> None:
    repository = Repository("/a")
    run = Run(state, repository)
    run.kill("confirmed")
    assert outcomes(repository) == [Outcome.PARTIAL]
    assert tuple(run.save()["unread"]) == ("/a",)
    assert tuple(run.save()["unread"]) == ("/a",)
    assert len(repository.stored) == 2
    assert [row.outcome for row in state.catalogue.list()] == ["partial"]


@pytest.mark.parametrize("killed", ["save", "stored", "unconfirmed"])
def test_an_abort_removes_a_copy_without_a_verdict(state: State, killed: str) -> None:
    repository = Repository("/a")
    run = Run(state, repository)
    run.kill(killed)
    run.step().revert()
    assert repository.stored == []
    assert state.ledger.open() == []
    assert not run.counts


def test_an_unfinished_copy_that_cannot_be_removed_now_stays_unfinished(state: State) -> None:
    repository = Repository("/a")
    run = Run(state, repository)
    run.kill("stored")
    repository.locked = True
    run.step().revert()
    assert outcomes(repository) == [Outcome.UNFINISHED]
    assert state.ledger.open() == state.ledger.leftovers() == []


def test_an_abort_keeps_a_backup_that_has_its_verdict(state: State) -> None:
    repository = Repository("/a")
    run = Run(state, repository)
    run.kill("confirmed")
    run.step().revert()
    assert outcomes(repository) == [Outcome.PARTIAL]
    assert run.counts
    assert state.ledger.open() == []


def test_what_the_storage_has_lost_is_no_backup_although_it_is_listed(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    repository.lost = True
    with pytest.raises(RepositoryError, match="does not have it"):
        run.save()
    assert outcomes(repository) == [Outcome.COMPLETE]
    run.step().revert()
    assert repository.stored == []
    assert not run.counts
    assert state.ledger.open() == []


def test_a_resume_confirms_again_what_the_storage_has_lost(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    run.kill("confirmed")
    repository.lost = True
    with pytest.raises(RepositoryError, match="does not have it"):
        run.save()
    assert not run.counts


def test_a_failed_copy_is_not_looked_for_when_it_is_undone(state: State) -> None:
    repository = Repository()
    run = Run(state, repository)
    with pytest.raises(RepositoryError):
        run.save("failed")
    run.step().revert()
    assert repository.looked == 0
    assert state.ledger.open() == []


def test_an_aborted_copy_of_the_first_release_is_removed(state: State) -> None:
    """It has no tag that makes it unfinished, and no list of the files that it lacks."""
    repository = Repository()
    run = Run(state, repository)
    run.step().intend(unfinished=True)
    repository._add({"run": run.id, "volume": VOLUME}, TAKEN)
    run.step().revert()
    assert repository.stored == []
