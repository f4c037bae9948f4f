"""A backup counts only if the storage has what restic believes to have stored."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.restic import program
from tests.support.saving import save_directory
from volflow.errors import RepositoryError
from volflow.movers.restic.mover import ResticMover
from volflow.movers.restic.repository import ResticRepository

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("restic") is None, reason="it needs root and restic"
)

# Runs restic. If it stores a snapshot for a host with this name, the snapshot disappears, as often
# as the file has lines: like with a proxy that answers 200 to a request that it does not hand on.
LOSING = """#!/bin/sh
restic "$@" || exit
case " $* " in
    *" backup "*" --host {host}"*) [ -s {times} ] || exit 0 ;;
    *) exit 0 ;;
esac
sed -i 1d {times}
rm "{snapshots}/$(ls -t {snapshots} | head -n 1)"
"""


def mover(directory: Path, host: str, times: int) -> ResticMover:
    """A mover into a repository that loses the snapshots for a host this often."""
    count = directory / "times"
    count.write_text("x\n" * times)
    losing = directory / "losing"
    losing.write_text(
        LOSING.format(host=host, times=count, snapshots=directory / "repository" / "snapshots")
    )
    losing.chmod(0o755)
    ResticRepository(program(directory)).init()
    (directory / "files").mkdir()
    return ResticMover(program(directory, restic=str(losing)))


def test_a_lost_verdict_is_stored_again(tmp_path: Path) -> None:
    saved = save_directory(mover(tmp_path, "checked-", 2), tmp_path / "files")
    (backup,) = ResticRepository(program(tmp_path)).backups()
    assert (backup.id, backup.finished) == (saved.id, True)


@pytest.mark.parametrize(("host", "times"), [("checked-", 3), ("v", 1)])
def test_what_the_storage_does_not_have_is_no_backup(tmp_path: Path, host: str, times: int) -> None:
    with pytest.raises(RepositoryError, match=r"has accepted snapshot \w{8}, but does not have it"):
        save_directory(mover(tmp_path, host, times), tmp_path / "files")
    assert not any(one.finished for one in ResticRepository(program(tmp_path)).backups())
    assert (tmp_path / "times").read_text() == ""
