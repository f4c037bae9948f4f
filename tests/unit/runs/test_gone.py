"""A volume that was deleted before its turn does not hide which volumes a project has."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.memory_repository import MemoryRepository, Storage
from volflow.errors import RepositoryError
from volflow.movers.verdicts import tags_of_copy, tags_of_verdict
from volflow.plans.restore_source import complete_runs
from volflow.results.outcome import Outcome, VolumeResult
from volflow.results.request import BackupRequest
from volflow.runs.gone import note_gone


class Repository(MemoryRepository):
    """A repository with the backup of one of two volumes of a project."""

    away = False

    def __init__(self) -> None:
        super().__init__(Storage("secret"), "secret")
        tags = {"run": "r", "volume": "a", "project": "p", "whole": "2"}
        copy_id = self.storage.add(tags_of_copy(tags), {})
        self.storage.add(tags_of_verdict(copy_id, tags), {})

    def note_gone(self, volume_id: str, *, run_id: str, project_id: str) -> None:
        if self.away:
            raise RepositoryError("It is away.")
        super().note_gone(volume_id, run_id=run_id, project_id=project_id)


def noted(repository: Repository, outcome: Outcome, **request: Any) -> bool:
    """Whether the run is whole when its second volume has ended."""
    values = {"projects": {"a": "p", "b": "p"}, "volumes_in_project": {"p": 2}, **request}
    work = SimpleNamespace(
        run_id="r",
        request=BackupRequest(**values),
        of=lambda key: SimpleNamespace(repository=repository),
    )
    note_gone(cast(Any, work), VolumeResult("b", "", outcome))
    return "p" in complete_runs(repository.backups())


def test_a_run_is_whole_if_what_it_lacks_was_deleted() -> None:
    assert noted(Repository(), Outcome.LEFT_OUT)
    assert not noted(Repository(), Outcome.FAILED)


def test_nothing_is_noted_of_a_run_that_does_not_cover_the_project() -> None:
    assert not noted(Repository(), Outcome.LEFT_OUT, volumes_in_project={})


def test_a_note_that_cannot_be_stored_fails_nothing(caplog: pytest.LogCaptureFixture) -> None:
    repository = Repository()
    repository.away = True
    assert not noted(repository, Outcome.LEFT_OUT)
    assert "could not record that volume b was deleted" in caplog.text
    assert all(one.taken_at <= datetime.now(UTC) for one in repository.backups())
