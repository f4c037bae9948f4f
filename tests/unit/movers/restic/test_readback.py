"""What the storage has is known, whatever restic's cache has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.restic import program
from tests.support.saving import save_directory
from volflow.errors import RepositoryError
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.readback import missing
from volflow.movers.restic.repository import ResticRepository

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("restic") is None, reason="it needs root and restic"
)


@pytest.fixture
def backup_id(tmp_path: Path) -> str:
    """A backup in a repository below ``tmp_path``, that restic has in its cache."""
    ResticRepository(program(tmp_path)).init()
    (tmp_path / "files").mkdir()
    return save_directory(ResticMover(program(tmp_path)), tmp_path / "files").id


def damage(directory: Path, snapshot_id: str) -> bytes:
    """Let the storage return nonsense for a snapshot; returns what it had."""
    (file,) = (directory / "repository" / "snapshots").glob(f"{snapshot_id}*")
    content = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(b"<html>")
    return content


@pytest.mark.parametrize("what", ["copy", "verdict"])
def test_a_backup_of_which_the_storage_has_lost_a_part_is_not_held(
    tmp_path: Path, backup_id: str, what: str
) -> None:
    repository = ResticRepository(program(tmp_path))
    (backup,) = repository.backups()
    assert repository.holds(backup)
    lost = backup.id if what == "copy" else backup.verdict_id
    damage(tmp_path, lost)
    # The cache still has it.
    (listed,) = repository.backups()
    assert listed.finished
    assert not repository.holds(listed)
    assert missing(program(tmp_path), backup.id, backup.verdict_id) == [lost]


def test_a_list_that_is_not_whole_says_so_and_removes_nothing(
    tmp_path: Path, backup_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    repository = ResticRepository(program(tmp_path))
    content = damage(tmp_path, backup_id)
    shutil.rmtree(tmp_path / "cache")
    assert repository.backups() == []
    (warning,) = caplog.messages
    assert "has snapshots that restic cannot read" in warning
    assert backup_id[:8] in warning
    before = sorted(os.listdir(tmp_path / "repository" / "snapshots"))
    with pytest.raises(RepositoryError, match="has snapshots that restic cannot read"):
        repository.prune(lambda _: True)
    assert sorted(os.listdir(tmp_path / "repository" / "snapshots")) == before
    # It was the storage's trouble, and has passed.
    (file,) = (tmp_path / "repository" / "snapshots").glob(f"{backup_id}*")
    file.write_bytes(content)
    (backup,) = repository.backups()
    assert backup.finished
