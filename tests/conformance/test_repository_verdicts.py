"""What every repository must do with verdicts, which make a copy a backup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.test_repository import files as files
from tests.conformance.test_repository import stored
from tests.support.repositories import Subject
from tests.support.saving import REGION, TAGS, confirm, directory_namespace, save_directory
from volflow.errors import BackupNotFoundError
from volflow.movers.base import MANIFEST as MANIFEST_FILE
from volflow.results.outcome import Outcome


def test_a_copy_is_unfinished_until_there_is_a_verdict_on_it(subject: Subject, files: Path) -> None:
    tags = TAGS | {"run": "r1"}
    copy_id = save_directory(subject.mover, files, tags=tags, confirmed=False).id
    (found,) = subject.repository.backups()
    assert (found.id, found.outcome) == (copy_id, Outcome.UNFINISHED)
    # It can be read, and be compared with.
    assert subject.repository.manifest(found.verdict_id) == "{}"
    assert subject.repository.read_all(copy_id, REGION) >= 2**20
    again = save_directory(subject.mover, files, tags=tags, parent_id=copy_id)
    assert again.figures.files_new == 0
    (found,) = subject.repository.backups()
    assert (found.id, found.outcome) == (again.id, Outcome.COMPLETE)


def test_a_repository_holds_what_it_was_given_and_not_what_is_gone(
    subject: Subject, files: Path
) -> None:
    repository = subject.repository
    save_directory(subject.mover, files)
    (backup,) = repository.backups()
    assert repository.holds(backup)
    repository.forget(backup.id)
    assert not repository.holds(backup)


def test_a_copy_without_a_verdict_does_not_replace_one_that_has_it(
    subject: Subject, files: Path
) -> None:
    tags = TAGS | {"run": "r1"}
    good = stored(subject, files, tags=tags)
    save_directory(subject.mover, files, tags=tags, parent_id=good, confirmed=False)
    assert [(one.id, one.finished) for one in subject.repository.backups()] == [(good, True)]


def test_a_verdict_names_what_could_not_be_read(subject: Subject, files: Path) -> None:
    copy = save_directory(subject.mover, files, manifest="before", confirmed=False)
    found = replace(copy, unread=("a", "b"))
    with directory_namespace(files) as namespace:
        namespace.write(namespace.root / MANIFEST_FILE, "with the list")
        confirm(subject.mover, namespace, found, tags=TAGS)
    (backup,) = subject.repository.backups()
    assert (backup.id, backup.outcome, backup.unread) == (copy.id, Outcome.PARTIAL, 2)
    assert subject.repository.manifest(backup.verdict_id) == "with the list"
    assert subject.repository.manifest(backup.id) == "before"


def test_a_backup_is_forgotten_with_its_verdict(subject: Subject, files: Path) -> None:
    backup_id = stored(subject, files)
    (backup,) = subject.repository.backups()
    subject.repository.forget(backup_id)
    with pytest.raises(BackupNotFoundError):
        subject.repository.manifest(backup.verdict_id)


def test_pruning_removes_a_copy_that_is_abandoned_and_no_other(
    subject: Subject, files: Path
) -> None:
    good = stored(subject, files, tags=TAGS | {"run": "r0"})
    unfinished = [
        save_directory(subject.mover, files, tags=TAGS | {"run": run}, confirmed=False).id
        for run in ("r1", "r2")
    ]
    subject.repository.prune()
    assert [one.id for one in subject.repository.backups()] == [good, *unfinished]
    subject.repository.prune(lambda one: one.tags["run"] == "r2" or one.id == good)
    assert [one.id for one in subject.repository.backups()] == [good, unfinished[0]]


def test_backups_of_a_run_name_the_volumes_that_were_gone(subject: Subject, files: Path) -> None:
    for run in ("r1", "r2"):
        stored(subject, files, tags=TAGS | {"run": run, "project": "p"})
    for volume in ("w", "x"):
        subject.repository.note_gone(volume, run_id="r2", project_id="p")
    assert [one.tags.get("gone") for one in subject.repository.backups()] == [None, "w,x"]
    assert subject.repository.prune()
    assert [one.tags.get("gone") for one in subject.repository.backups()] == [None, "w,x"]
