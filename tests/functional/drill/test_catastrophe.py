"""Everything in a cloud is lost, and volflow's state database too.

The repository and its password remain. The test builds a new cloud, where the tenant has
another id, and restores everything into it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.cloud import Cloud, run
from tests.support.site import missing

pytestmark = pytest.mark.lab

# Properties that belong to one volume or one cloud.
OWN = {
    *("attachments", "cluster_name", "created_at", "id", "os-vol-host-attr:host"),
    *("os-vol-tenant-attr:tenant_id", "service_uuid", "source_volid", "snapshot_id"),
    *("updated_at", "user_id", "volume_type_id"),
}
TENANT = "lab-alpha"


@dataclass
class Lost:
    """A volume of the lost cloud.

    :ivar shown: its properties
    :ivar tree: its files
    """

    shown: dict[str, Any]
    tree: tree.Tree


@dataclass
class Operator:
    """An operator with the repository, its password and, while it exists, a cloud."""

    home: Path
    clouds: Path | None = None

    def run(self, *arguments: str) -> str:
        """Run a command of volflow; return its output."""
        variables = {name: v for name, v in os.environ.items() if not name.startswith("OS_")}
        if self.clouds:
            variables |= {"OS_CLIENT_CONFIG_FILE": str(self.clouds), "OS_CLOUD": TENANT}
        print("# volflow", *arguments, flush=True)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "volflow.cli.main", "--quiet"),
                *("--repository", str(self.home / "repository")),
                *("--password-file", str(self.home / "password")),
                *("--state-dir", str(self.home / "state"), *arguments),
            ],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done
        print(done.stdout, flush=True)
        return done.stdout

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.run(*arguments, "-f", "json"))
        return found


@contextmanager
def _cloud(lab: Any, scratch: Path) -> Iterator[Cloud]:
    mounts = scratch / "mounts"
    mounts.mkdir(exist_ok=True)
    lab.up(keystone=True)
    try:
        yield Cloud(lab.cinder(TENANT), mounts, lab.cinder("lab-admin"))
    finally:
        lab.down()


def _tenant(cloud: Cloud) -> dict[str, Lost]:
    """Volumes of all kinds, by name."""
    volumes = cloud.client.volumes
    made: dict[str, str] = {}
    made["odd"] = cloud.create(2, name="odd", description="a\nb", metadata={"colour": "blue"})
    cloud.fill(made["odd"], "ext4", tree.make)
    volumes.set_image_metadata(made["odd"], {"os_distro": "debian"})
    volumes.set_bootable(made["odd"], True)
    volumes.update_readonly_flag(made["odd"], True)
    made["xfs ☃"] = cloud.create(
        1, name="xfs ☃", availability_zone="second", metadata={"empty": ""}
    )
    cloud.fill(made["xfs ☃"], "xfs", tree.make)
    made["shared"] = cloud.create(1, name="shared", volume_type="lab-multiattach")
    cloud.fill(made["shared"], "ext4", _some)
    made["empty"] = cloud.create(1, name="empty")
    cloud.format(made["empty"], "ext4")
    return {
        name: Lost(cloud.show(volume), cloud.on(volume, tree.describe, read_only=True))
        for name, volume in made.items()
    }


def _some(root: Path) -> None:
    for number in range(500):
        directory = root / f"{number % 7}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number}").write_bytes(os.urandom(number))


def _burn(lab: Any, home: Path) -> None:
    """Destroy the cloud and the state at once, without warning."""
    directory = lab.directory
    os.kill(lab.pid, signal.SIGKILL)
    gone = [directory.database("cinder"), directory.pool_file, home / "state"]
    assert all(path.exists() for path in gone), gone
    # The pool is mounted and the kernel holds its file, so the lab itself removes everything.
    lab.down()
    shutil.rmtree(home / "state")
    assert not any(path.exists() for path in [*gone, directory.path])


def _project(clouds: Path) -> str:
    """The tenant's id."""
    import openstack

    config = openstack.config.OpenStackConfig(config_files=[str(clouds)], load_envvars=False)
    session = config.get_one(TENANT).get_session()
    session.session.trust_env = False
    return str(session.get_project_id())


def test_a_repository_alone_brings_back_every_volume(scratch: Path) -> None:
    why = missing() or (not importlib.util.find_spec("keystone") and "keystone is not installed")
    if why:
        pytest.skip(str(why))
    from lab import Lab

    home = scratch / "operator"
    home.mkdir()
    (home / "password").write_text("correct horse battery staple\n")
    operator = Operator(home)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"--- {time.monotonic() - began:5.1f} s: {text}", flush=True)

    lab = Lab(scratch / "lab")
    with _cloud(lab, scratch) as cloud:
        operator.clouds = lab.clouds_file
        old_project = _project(lab.clouds_file)
        say(f"a cloud with the tenant {old_project}")
        lost = _tenant(cloud)
        say(f"{len(lost)} volumes are made; they are backed up")
        operator.run("repository", "init")
        rows = operator.rows("backup", "create", "--all")
        assert {row["outcome"] for row in rows} == {"complete"}
        assert len(rows) == len(lost)
        _burn(lab, home)
        say("Cinder's database, its pool, Keystone and volflow's state are deleted")
    operator.clouds = None
    operator.run("repository", "rebuild-catalogue")
    listed = operator.rows("backup", "list")
    assert {row["Name"] for row in listed} == lost.keys()
    say("the catalogue is rebuilt, without a cloud")

    lab = Lab(scratch / "new-lab")
    with _cloud(lab, scratch) as cloud:
        operator.clouds = lab.clouds_file
        new_project = _project(lab.clouds_file)
        assert new_project != old_project
        assert cloud.client.volumes.list() == []
        say(f"a new cloud with the tenant {new_project}, and nothing in it")
        rows = operator.rows(
            *("restore", "create", "--all", "--project-map", f"{old_project}={new_project}"),
            "--verify",
        )
        say("everything is restored; it is compared")
        assert {row["name"] for row in rows} == lost.keys()
        assert {row["outcome"] for row in rows} == {"complete"}
        for row in rows:
            _equal(lost[row["name"]], cloud, cloud.adopt(row["target_id"]), say)
        assert {volume.id for volume in cloud.client.volumes.list()} == {
            row["target_id"] for row in rows
        }
        assert cloud.client.volume_snapshots.list() == []
    assert run("losetup", "--list").count(str(scratch)) == 0


def _equal(was: Lost, cloud: Cloud, volume: str, say: Callable[[str], None]) -> None:
    tree.assert_same(was.tree, cloud.on(volume, tree.describe, read_only=True))
    now = cloud.show(volume)
    names = (was.shown.keys() | now.keys()) - OWN
    changed = {n: (was.shown.get(n), now.get(n)) for n in names if was.shown.get(n) != now.get(n)}
    assert changed == {}
    size = sum(entry.size for entry in was.tree.values()) / tree.MIB
    say(
        f"{was.shown['name']}: {len(was.tree)} paths, {size:.1f} MiB and {len(names)} properties "
        "are equal"
    )
