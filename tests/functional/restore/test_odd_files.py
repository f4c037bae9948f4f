"""What restic cannot store comes back nevertheless, or the backup says so."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.stage import Stage

pytestmark = pytest.mark.lab

FAR = 15_032_385_535


def _fill(root: Path) -> None:
    (root / "run").mkdir()
    here = os.open(".", os.O_RDONLY)
    os.chdir(root / "run")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
    os.fchdir(here)
    os.close(here)
    os.chmod(root / "run/socket", 0o640)
    os.chown(root / "run/socket", 1000, 1001)
    os.utime(root / "run/socket", (10, 20))
    os.utime(root / "run", (30, 40))
    (root / "far").write_text("")
    os.utime(root / "far", (FAR, FAR))


def _look(root: Path) -> dict[str, Any]:
    status = os.lstat(root / "run/socket")
    assert stat.S_ISSOCK(status.st_mode)
    return {
        "socket": (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime),
        "above": os.stat(root / "run").st_mtime,
    }


WANTED = {"socket": (0o640, 1000, 1001, 20.0), "above": 40.0}


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
def test_a_socket_comes_back_and_a_far_time_is_told(stage: Stage, fs: str) -> None:
    volume = stage.site.cloud.create(name="odd files")
    stage.site.cloud.fill(volume, fs, _fill)
    (row,) = stage.rows("backup", "create", volume)
    (said,) = [one for one in row["remarks"] if "2262" in one]
    assert "/far" in said
    (row,) = stage.rows("restore", "create", volume, "--new", "--verify")
    assert stage.site.cloud.on(row["target_id"], _look, read_only=True) == WANTED
    for options in (("--keep-extra",), ("--overwrite", "if-newer"), ("--overwrite", "never")):
        stage.site.cloud.on(volume, lambda root: (root / "run/socket").unlink())
        stage.rows("restore", "create", volume, *options, "--verify", "--yes")
        found = stage.site.cloud.on(volume, _look, read_only=True)
        assert found["socket"] == WANTED["socket"], options
        # It is not removed as extra either.
        stage.rows("restore", "create", volume, *options, "--yes")
        assert stage.site.cloud.on(volume, _look, read_only=True)["socket"] == WANTED["socket"]
    place = stage.site.home / f"odd files of {fs}"
    stage.run("restore", "create", volume, "--to-path", str(place))
    assert _look(place) == WANTED
    stage.nothing_left()
