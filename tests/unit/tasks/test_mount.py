"""What the unmount of a restored volume leaves on it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from persistence import State
from tests.support.fake_cinder import FakeClient
from tests.support.work import work_of
from volflow.disk.filesystem import FileSystem, probe
from volflow.host.privilege import Privilege
from volflow.tasks.mount import Mount, Unmount
from volflow.tasks.remarks import remarks
from volflow.tasks.work import Work

# A namespace in which nothing is mounted.
NOTHING = {"mounted": (), "unmount": lambda: None, "close": lambda: None, "run": lambda *_: ""}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    found = tmp_path / "disk"
    found.touch()
    os.truncate(found, 64 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-M", "/srv/data", str(found)], check=True)
    return found


@pytest.fixture
def work(state: State, cloud: FakeClient) -> Work:
    found = work_of(state, cloud, cloud.put())
    cast(Any, found.services.host).privilege = Privilege(helper="")
    return found


def unmounted(work: Work, disk: Path, found: FileSystem) -> str:
    """Unmount it after this host had mounted it; returns where it was mounted last."""
    subprocess.run(["tune2fs", "-M", "/of/this/host", str(disk)], capture_output=True, check=False)
    work.namespace = cast(Any, SimpleNamespace(**NOTHING))
    step = Unmount(Mount(work, read_only=False), strict=True)
    step.execute(str(disk), found.to_dict())
    return probe(Privilege(helper=""), str(disk)).parameters["Last mounted on"]


def test_a_volume_does_not_show_where_this_host_had_mounted_it(work: Work, disk: Path) -> None:
    found = probe(Privilege(helper=""), str(disk))
    assert unmounted(work, disk, found) == "/srv/data"
    assert remarks(work.services.ledger, work.services.run_id, work.volume_id) == ()


def test_a_file_system_that_the_tools_refuse_is_restored_all_the_same(
    work: Work, disk: Path
) -> None:
    found = probe(Privilege(helper=""), str(disk))
    unknown = ["debugfs", "-w", "-R", "feature FEATURE_R29", str(disk)]
    subprocess.run(unknown, check=True, capture_output=True)
    unmounted(work, disk, found)
    (remark,) = remarks(work.services.ledger, work.services.run_id, work.volume_id)
    assert remark.startswith("the file system still says where this host mounted it: 'tune2fs'")
