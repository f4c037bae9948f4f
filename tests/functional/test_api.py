"""A program can do everything that the command line does, with only the names in ``volflow``."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site
from volflow import (
    BackupNotFoundError,
    Manifest,
    NullObserver,
    Observer,
    Outcome,
    RestoreOptions,
    RunResult,
    Selection,
    StoredBackup,
    SuspendedError,
    UsageError,
    Volflow,
    load_config,
)

pytestmark = pytest.mark.lab

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@contextmanager
def opened(site: Site, observer: Observer | None = None, **overrides: Any) -> Iterator[Volflow]:
    """volflow as a program opens it."""
    conf = load_config([str(site.config(**overrides))])
    with Volflow.from_config(conf, observer=observer) as found:
        yield found


@dataclass
class BackedUp:
    """A volume with two backups; a file was added between them."""

    site: Site
    volume: str
    results: tuple[RunResult, RunResult]

    @property
    def backup_ids(self) -> list[str]:
        return [str(result.volumes[0].backup_id) for result in self.results]


@pytest.fixture(scope="module")
def backed_up(shared_site: Site) -> BackedUp:
    def first(root: Path) -> None:
        (root / "etc").mkdir()
        (root / "etc" / "motd").write_text("hello\n")

    volume = shared_site.cloud.create(name="api")
    shared_site.cloud.fill(volume, "ext4", first)
    with opened(shared_site) as volflow:
        one = volflow.backups.create(["api"])
        shared_site.cloud.on(volume, lambda root: (root / "etc" / "issue").write_text("new\n"))
        plan = volflow.backups.plan(Selection(volumes=("api",)), parallel=1)
        assert plan.parallel == 1
        assert volflow.backups.steps()
        assert all(volflow.backups.free_bytes(plan).values())
        two = volflow.backups.run(plan, full=True)
    return BackedUp(shared_site, volume, (one, two))


@pytest.fixture
def volflow(backed_up: BackedUp) -> Iterator[Volflow]:
    with opened(backed_up.site) as found:
        yield found


def test_a_backup_is_listed_found_and_shown(backed_up: BackedUp, volflow: Volflow) -> None:
    first, second = backed_up.backup_ids
    assert {result.outcome for result in backed_up.results} == {Outcome.COMPLETE}
    stored = volflow.backups.list(volume="api")
    assert [backup.id for backup in stored] == [first, second]
    assert volflow.backups.list(volume="another") == []
    found = volflow.backups.find(backed_up.volume)
    assert found.id == volflow.backups.find("api", among=stored).id == second
    assert volflow.backups.find("api", at=stored[0].created_at).id == first
    assert volflow.backups.get(first[:8]) == stored[0]
    with pytest.raises(BackupNotFoundError):
        volflow.backups.get("api")
    manifest = volflow.backups.manifest(found)
    assert isinstance(manifest, Manifest)
    assert manifest.volume["name"] == "api"
    assert volflow.backups.figures(stored)[second] == backed_up.results[1].volumes[0].figures


def test_files_are_listed_and_exported(
    backed_up: BackedUp, volflow: Volflow, tmp_path: Path
) -> None:
    files = volflow.backups.files("api", "/etc")
    assert {file.path: file.size for file in files} == {"/etc/issue": 4, "/etc/motd": 6}
    exporter = volflow.backups.export("api")
    exporter.to_directory(tmp_path / "some", ["/etc/motd"])
    assert (tmp_path / "some" / "etc" / "motd").read_text() == "hello\n"
    assert exporter.unread() == ()
    exporter.to_image(tmp_path / "image", verify=True)
    assert (tmp_path / "image").stat().st_size == 1024**3


def test_backups_are_compared_and_verified(backed_up: BackedUp, volflow: Volflow) -> None:
    first, second = backed_up.backup_ids
    changes = {change.path: change.kind for change in volflow.backups.changes(first, second)}
    assert changes == {"/etc/issue": "added"}
    assert volflow.backups.verify(second) > 0


def test_a_backup_is_mounted_for_a_block(
    backed_up: BackedUp, volflow: Volflow, tmp_path: Path
) -> None:
    with volflow.backups.mount("api", tmp_path) as mounted:
        assert (mounted.directory / "etc" / "motd").read_text() == "hello\n"
        mounted.check()
        volflow.stop.suspend()
        mounted.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_restore_is_planned_confirmed_and_run(backed_up: BackedUp, volflow: Volflow) -> None:
    plan = volflow.restores.plan(["api"], RestoreOptions(new=True))
    assert [target.backup.id for target in plan.targets] == backed_up.backup_ids[1:]
    assert list(volflow.restores.steps(plan))
    (restored,) = volflow.restores.run(plan).volumes
    volume = backed_up.site.cloud.adopt(restored.target_id)
    text = backed_up.site.cloud.on(volume, lambda root: (root / "etc" / "issue").read_text())
    assert (restored.outcome, text) == (Outcome.COMPLETE, "new\n")

    def refuse(planned: Any) -> None:
        assert planned.targets[0].overwritten == backed_up.volume
        raise UsageError("no")

    runs = len(volflow.runs.list())
    with pytest.raises(UsageError, match="no"):
        volflow.restores.create([backed_up.volume], confirm=refuse)
    assert len(volflow.runs.list()) == runs
    assert volflow.restores.create([backed_up.volume]).outcome is Outcome.COMPLETE


def test_a_run_is_listed_and_shown(backed_up: BackedUp, volflow: Volflow) -> None:
    first, _ = backed_up.results
    assert first.run_id in [run.id for run in volflow.runs.list()]
    run = volflow.runs.get(first.run_id[:8])
    assert volflow.runs.status(run) == "complete"
    assert not volflow.runs.is_driven(run)
    assert [item.key for item in volflow.runs.volumes(run.id)] == [backed_up.volume]
    assert volflow.runs.result(run.id).volumes == first.volumes
    assert volflow.runs.page(run.id).lstrip().lower().startswith("<!doctype html")
    assert "<svg" in volflow.runs.graph(run.id)
    assert volflow.runs.graph(run.id, format="dot").startswith("digraph")
    assert list(volflow.runs.unfinished()) == []
    with pytest.raises(UsageError, match="ended"):
        volflow.runs.resume(run.id)


class AtCopy(NullObserver):
    """Calls a function when the first copy begins."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self._done = threading.Event()

    def step(self, volume_id: str, step: str, state: str) -> None:
        if step == "copy" and state == "RUNNING" and not self._done.is_set():
            self._done.set()
            self._do()


class Watcher(NullObserver):
    """Records when it receives the plan and the results of a run."""

    def __init__(self) -> None:
        self.planned_at = threading.Event()
        self.results: list[Any] = []

    def planned(self, run_id: str, volumes: dict[str, str]) -> None:
        self.planned_at.set()

    def ended(self, result: Any) -> None:
        self.results.append(result)


def test_a_run_is_watched_from_another_volflow(backed_up: BackedUp) -> None:
    saving, watcher = threading.Event(), Watcher()

    def wait() -> None:
        saving.set()
        assert watcher.planned_at.wait(60)

    site = backed_up.site
    with (
        opened(site, AtCopy(wait)) as driving,
        opened(site) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        job = pool.submit(driving.backups.create, [backed_up.volume])
        assert saving.wait(120)
        run, *_ = watching.runs.list(limit=1)
        assert watching.runs.is_driven(run)
        assert watching.runs.watch(run.id, watcher).state.final
        assert watcher.results == list(job.result().volumes)


@pytest.fixture
def suspended(backed_up: BackedUp) -> str:
    """The id of a run that was suspended while it saved."""
    ready: list[Volflow] = []
    with opened(backed_up.site, AtCopy(lambda: ready[0].stop.suspend())) as volflow:
        ready.append(volflow)
        with pytest.raises(SuspendedError):
            volflow.backups.create([backed_up.volume])
        return volflow.runs.list(limit=1)[0].id


def test_a_suspended_run_is_resumed(volflow: Volflow, suspended: str) -> None:
    assert [run.id for run in volflow.runs.unfinished()] == [suspended]
    with pytest.raises(UsageError, match="has not ended"):
        volflow.runs.result(suspended)
    (resumed,) = volflow.runs.resume_all()
    assert (resumed.run.id, resumed.error) == (suspended, None)
    assert resumed.result is not None
    assert resumed.result.outcome is Outcome.COMPLETE


def test_a_suspended_run_is_aborted(volflow: Volflow, suspended: str) -> None:
    result = volflow.runs.abort(suspended)
    assert result is not None
    assert not result.volumes[0].leftovers
    assert volflow.runs.get(suspended).state.final


def test_there_are_no_leftovers(volflow: Volflow) -> None:
    assert volflow.leftovers.list(lost=True) == []
    assert list(volflow.leftovers.clean(lost=True, older_than=timedelta(0))) == []


def test_a_repository_is_created_checked_and_pruned(backed_up: BackedUp, volflow: Volflow) -> None:
    repositories, site = volflow.repositories, backed_up.site
    (found,) = repositories.list()
    assert found.configured
    assert found.location == repositories.location() == str(site.repository)
    assert (found.volumes, found.backups) == (1, len(volflow.backups.list()))
    assert "no errors were found" in repositories.check()
    assert "no errors were found" in repositories.check(percent=100)
    assert repositories.prune()
    assert repositories.rebuild_catalogue() == found.backups
    place = site.home / "created"
    with opened(site, repository__location=place) as another:
        assert another.repositories.init() == str(place)
        assert another.backups.list() == []
        assert [one.configured for one in another.repositories.list()] == [True, False]


def test_the_doctor_finds_nothing_wrong(volflow: Volflow) -> None:
    assert [finding for finding in volflow.doctor() if not finding.good] == []


def test_the_state_database_is_migrated(backed_up: BackedUp, volflow: Volflow) -> None:
    volflow.migrate_state()
    assert volflow.runs.get(backed_up.results[0].run_id)


def test_a_backup_is_deleted(backed_up: BackedUp, volflow: Volflow) -> None:
    before = volflow.backups.list()
    with pytest.raises(BackupNotFoundError):
        volflow.backups.delete(before[-1], "nothing")
    assert volflow.backups.list() == before
    last = before[-1]
    assert isinstance(last, StoredBackup)
    volflow.backups.delete(last)
    assert volflow.backups.list() == before[:-1]


def test_the_examples_of_the_documentation_run(backed_up: BackedUp, tmp_path: Path) -> None:
    site = backed_up.site
    (tmp_path / "volflow").mkdir()
    (tmp_path / "volflow" / "volflow.conf").write_text(site.config().read_text())

    def example(name: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(EXAMPLES / name), *arguments],
            env={**os.environ, **site.environment, "XDG_CONFIG_HOME": str(tmp_path)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    assert "api complete " in example("api_backup.py")
    restored = example("api_restore.py", backed_up.volume).splitlines()[-1].split()
    site.cloud.adopt(restored[2])
    assert restored[:2] == ["api", "complete"]
    assert "/etc/motd" in example("api_extract.py", backed_up.volume, "/etc", str(tmp_path / "out"))
    assert (tmp_path / "out" / "etc" / "motd").read_text() == "hello\n"
    run_id = backed_up.results[0].run_id
    assert example("api_watch.py", run_id) == f"{run_id} complete\n"
