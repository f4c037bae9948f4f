"""A backup that lacks something says what, and one that lacks everything is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from persistence import State
from tests.unit.tasks.test_save import VOLUME, Repository, Run, state
from volflow.errors import DiskError
from volflow.results.outcome import Outcome
from volflow.tasks.remarks import remarks

__all__ = ["state"]


@pytest.mark.parametrize(
    ("unread", "names", "said"),
    [
        ([""], [], "its root directory cannot be read"),
        (["/data/dir"], ["regions/0"], "such as /data/dir/"),
        (["/a"], ["regions/0", "regions/0/lost+found"], "such as /a"),
    ],
)
def test_a_copy_of_which_nothing_could_be_read_is_no_backup(
    state: State, unread: list[str], names: list[str], said: str
) -> None:
    repository = Repository(*unread)
    repository.names = names
    run = Run(state, repository)
    with pytest.raises(DiskError, match=rf"(?s)damaged.*{said}.*fsck"):
        run.save()
    assert [one.outcome for one in repository.backups()] == [Outcome.UNFINISHED]
    assert not run.counts
    assert state.catalogue.list() == []


def test_a_directory_that_could_not_be_read_is_named_as_one(state: State) -> None:
    repository = Repository("/dir", "/file", "/dir/below/dir")
    assert Run(state, repository).save()["unread"] == ("/dir/", "/file", "/dir/below/dir/")
    (backup,) = repository.backups()
    assert repository.manifests[backup.verdict_id].unread == ("/dir/", "/file", "/dir/below/dir/")


def test_far_fewer_files_than_in_the_last_complete_backup_are_a_warning(state: State) -> None:
    repository = Repository()
    repository.files = 1000
    Run(state, repository).save()
    repository.unread, repository.files = ("/dir",), 950
    few = Run(state, repository)
    few.save()
    assert remarks(state.ledger, few.id, VOLUME) == ()
    repository.files = 10
    for _ in range(2):
        # Also the second partial one in a row.
        run = Run(state, repository)
        run.save()
        (said,) = remarks(state.ledger, run.id, VOLUME)
        assert "in this backup: 10; in the last complete one: 1,000." in said
    assert [one.files for one in repository.backups()] == [1000, 950, 10, 10]
    assert [one.files_before for one in repository.backups()] == [None, None, 1000, 1000]


def test_the_type_of_a_path_is_known_without_its_inode(tmp_path: Path) -> None:
    from volflow.disk.directories import directories

    (tmp_path / "a/sub").mkdir(parents=True)
    (tmp_path / "a/file").write_text("")
    (tmp_path / "a/link").symlink_to("sub")
    paths = ["", "a/sub", "a/file", "a/link", "missing/x", "a/missing", "a/link/x"]
    assert directories(str(tmp_path), paths) == ["", "a/sub"]
