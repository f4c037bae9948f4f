"""What every repository must do, on every storage."""

from __future__ import annotations

import json
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.repositories import Subject
from tests.support.saving import REGION, TAGS, directory_namespace, save_directory
from volflow.errors import (
    BackupNotFoundError,
    NoRepositoryError,
    PasswordError,
    RepositoryError,
)
from volflow.host.identity import Process

MANIFEST = json.dumps({"text": 'schön ☃ "quoted"\n', "long": "x" * 100_000}, indent=1)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a few files in it."""
    directory = tmp_path / "files"
    (directory / "sub" / "deeper").mkdir(parents=True)
    (directory / "text").write_text("a text\n")
    (directory / "sub" / "random").write_bytes(os.urandom(2**20))
    (directory / "sub" / "deeper" / "schön").write_text("deep\n")
    (directory / "link").symlink_to("text")
    (directory / "text").chmod(0o640)
    os.chown(directory / "text", 1234, 4321)
    os.utime(directory / "text", (1_000_000_000, 1_000_000_000))
    return directory


def stored(subject: Subject, files: Path, **options: object) -> str:
    return save_directory(subject.mover, files, **options).id  # type: ignore[arg-type]


# Existence


def test_a_new_repository_exists_and_holds_nothing(subject: Subject) -> None:
    new = subject.elsewhere()
    new.check()
    assert not new.exists()
    new.init()
    assert new.exists()
    assert list(new.backups()) == []


def test_a_repository_that_exists_is_not_made_again(subject: Subject, files: Path) -> None:
    backup_id = stored(subject, files)
    with pytest.raises(RepositoryError):
        subject.repository.init()
    assert [backup.id for backup in subject.repository.backups()] == [backup_id]


def test_a_missing_repository_is_reported_as_such(subject: Subject) -> None:
    missing = subject.elsewhere()
    with pytest.raises(NoRepositoryError):
        missing.backups()
    with pytest.raises(NoRepositoryError):
        missing.manifest("0" * 64)


def test_a_wrong_password_opens_nothing(subject: Subject) -> None:
    other = subject.with_password("wrong")
    with pytest.raises(PasswordError):
        other.backups()


def test_whether_it_exists_can_be_told_without_the_password(subject: Subject) -> None:
    assert subject.with_password("wrong").exists()


def test_a_read_only_storage_is_reported_before_a_copy(subject: Subject) -> None:
    if not subject.read_only_is_noticed:
        pytest.skip("restic tries for minutes to write to a storage service")
    subject.repository.check_writable()
    subject.read_only()
    for act in (
        subject.repository.check_writable,
        subject.repository.prune,
        lambda: subject.repository.forget("0" * 64),
        lambda: subject.repository.note_gone("v", run_id="r", project_id="p"),
    ):
        with pytest.raises(RepositoryError, match="cannot be written to") as caught:
            act()
        assert not isinstance(caught.value, NoRepositoryError | PasswordError)


def test_a_read_only_storage_can_be_read(subject: Subject, files: Path, tmp_path: Path) -> None:
    if not subject.read_only_is_noticed:
        pytest.skip("restic tries for minutes to write to a storage service")
    old = stored(subject, files)
    (files / "new").write_text("new\n")
    new = stored(subject, files)
    subject.read_only()
    repository = subject.repository
    assert [backup.id for backup in repository.backups()] == [old, new]
    assert repository.manifest(new)
    assert repository.nodes(new, REGION / "text")
    assert f"/{REGION}/new" in [change.path for change in repository.changes(old, new)]
    assert repository.read_all(new, REGION) >= 2**20
    assert repository.check_data()
    empty, point = tmp_path / "empty", tmp_path / "point"
    for each in (empty, point):
        each.mkdir()
    options: dict[str, Any] = {"progress": lambda _: None, "stopping": threading.Event()}
    with directory_namespace(empty) as namespace:
        subject.mover.restore(namespace, new, [REGION], **options)
        subject.mover.compare(namespace, new, REGION, **options)
    assert (empty / "text").read_text() == "a text\n"
    if os.path.exists("/dev/fuse"):
        with repository.mounted(new, point) as found:
            assert (found.path / REGION / "text").read_text() == "a text\n"


def test_its_name_holds_no_secret(subject: Subject) -> None:
    assert subject.repository.location
    assert "hidden" not in subject.repository.location


def test_its_program_has_a_version(subject: Subject) -> None:
    assert subject.repository.version[0].isdigit()


# Backups


def test_backups_come_in_their_order_with_their_tags(subject: Subject, files: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    tags = [TAGS | {"run": run, "odd": "a,b=c\n%2C schön ☃"} for run in ("r1", "r2", "r3")]
    ids = [stored(subject, files, tags=each) for each in tags]
    found = subject.repository.backups()
    assert [backup.id for backup in found] == ids
    # What the verdict has added is not the mover's.
    shown = [{k: v for k, v in backup.tags.items() if k != "checked"} for backup in found]
    assert shown == tags
    assert all(before <= backup.created_at <= datetime.now(UTC) for backup in found)


def test_what_a_run_has_stored_twice_is_one_backup(subject: Subject, files: Path) -> None:
    first = stored(subject, files, tags=TAGS | {"run": "r1"})
    other = stored(subject, files, tags=TAGS | {"run": "r1", "volume": "w"})
    last = stored(subject, files, tags=TAGS | {"run": "r1"}, parent_id=first)
    assert [backup.id for backup in subject.repository.backups()] == [other, last]
    # Removing the last one does not bring the first one back.
    subject.repository.forget(last)
    assert [backup.id for backup in subject.repository.backups()] == [other]


def test_a_manifest_comes_back_as_it_was(subject: Subject, files: Path) -> None:
    assert subject.repository.manifest(stored(subject, files, manifest=MANIFEST)) == MANIFEST


def test_a_backup_that_does_not_exist_is_reported_as_such(subject: Subject, files: Path) -> None:
    stored(subject, files)
    with pytest.raises(BackupNotFoundError):
        subject.repository.manifest("0" * 64)


def test_a_forgotten_backup_is_gone_and_may_be_forgotten_again(
    subject: Subject, files: Path
) -> None:
    backup_id, kept = stored(subject, files), stored(subject, files)
    for _ in range(2):
        subject.repository.forget(backup_id)
        assert [backup.id for backup in subject.repository.backups()] == [kept]


def test_pruning_frees_what_no_backup_needs_and_nothing_else(subject: Subject, files: Path) -> None:
    kept = stored(subject, files)
    (files / "more").write_bytes(os.urandom(2**22))
    subject.repository.forget(stored(subject, files))
    before = subject.size()
    assert subject.repository.prune()
    assert before - subject.size() >= 2**22
    assert subject.repository.read_all(kept, REGION) >= 2**20
    assert subject.repository.check_data(100)


# Damage


def test_checking_finds_damaged_data(subject: Subject, files: Path) -> None:
    stored(subject, files)
    assert subject.repository.check_data()
    assert subject.repository.check_data(100)
    subject.damage()
    with pytest.raises(RepositoryError):
        subject.repository.check_data(100)


def test_reading_a_backup_finds_damaged_data(subject: Subject, files: Path) -> None:
    backup_id = stored(subject, files)
    assert subject.repository.read_all(backup_id, REGION) >= 2**20
    subject.damage()
    with pytest.raises(RepositoryError):
        subject.repository.read_all(backup_id, REGION)


# Locks


def test_the_lock_of_a_dead_process_is_removed_and_that_of_a_living_one_stays(
    subject: Subject,
) -> None:
    with subject.locked() as pid:
        owners = [Process.of(pid)]
        subject.repository.unlock(others=owners)
        with pytest.raises(RepositoryError):
            subject.repository.prune()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        subject.repository.unlock(owners)
        assert subject.repository.prune()


# Looking into backups


def test_a_directory_is_listed_with_what_is_in_it(subject: Subject, files: Path) -> None:
    backup_id = stored(subject, files)
    found = subject.repository.nodes(backup_id, REGION)
    root = f"/{REGION}"
    assert found[0].path == root
    assert {node.path: node.type for node in found} == {
        root: "dir",
        f"{root}/text": "file",
        f"{root}/link": "symlink",
        f"{root}/sub": "dir",
    }
    below = subject.repository.nodes(backup_id, REGION / "sub", recursive=True)
    assert {node.path for node in below} == {
        f"{root}/sub{name}" for name in ("", "/random", "/deeper", "/deeper/schön")
    }


def test_a_file_is_listed_with_its_metadata(subject: Subject, files: Path) -> None:
    (node,) = subject.repository.nodes(stored(subject, files), REGION / "text")
    assert (node.path, node.type, node.size) == (f"/{REGION}/text", "file", len("a text\n"))
    assert (node.permissions, node.uid, node.gid) == ("-rw-r-----", 1234, 4321)
    assert node.modified_at == datetime.fromtimestamp(1_000_000_000, UTC)


def test_nothing_is_listed_of_a_path_that_does_not_exist(subject: Subject, files: Path) -> None:
    assert list(subject.repository.nodes(stored(subject, files), REGION / "nothing")) == []


def test_the_changes_between_two_backups_are_listed(subject: Subject, files: Path) -> None:
    old = stored(subject, files, manifest="old")
    (files / "text").write_text("another\n")
    (files / "sub" / "random").unlink()
    (files / "new").write_text("new\n")
    (files / "sub" / "deeper" / "schön").chmod(0o600)
    new = stored(subject, files, manifest="new")

    def changes(*, metadata: bool) -> set[tuple[str, str]]:
        found = subject.repository.changes(old, new, metadata=metadata)
        ours = [each for each in found if each.path.startswith(f"/{REGION}/")]
        return {
            (each.path.removeprefix(f"/{REGION}"), each.kind)
            for each in ours
            # A repository need not list that a directory's time changed with its content.
            if not (files / each.path.removeprefix(f"/{REGION}/")).is_dir()
        }

    content = {("/text", "changed"), ("/sub/random", "removed"), ("/new", "added")}
    assert changes(metadata=False) == content
    assert changes(metadata=True) == content | {("/sub/deeper/schön", "metadata")}


def test_a_mounted_backup_can_be_read_until_it_is_unmounted(
    subject: Subject, files: Path, tmp_path: Path
) -> None:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("mounting a backup needs FUSE")
    backup_id = stored(subject, files)
    point = tmp_path / "point"
    point.mkdir()
    with subject.repository.mounted(backup_id, point) as found:
        assert not found.ended()
        assert (found.path / REGION / "text").read_text() == "a text\n"
        random = (found.path / REGION / "sub" / "random").read_bytes()
        assert random == (files / "sub" / "random").read_bytes()
    assert list(point.iterdir()) == []
