"""A lab with a Keystone for the whole session, and the people who use it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Keystone, Town, admin_api, gone, group_types


def _missing() -> str:
    if os.geteuid() != 0:
        return "a lab needs root: it mounts a file system and makes loop devices"
    for module in ("cinder", "keystone", "waitress"):
        if importlib.util.find_spec(module) is None:
            return f"a lab needs {module}: pip install 'volflow[lab,test]'"
    for program in ("mkfs.xfs", "mkfs.ext4", "restic"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return ""


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for everything, which is gone in the end. Not on a tmpfs that may be small."""
    with tempfile.TemporaryDirectory(prefix="volflow-tenants-", ignore_cleanup_errors=True) as name:
        yield Path(name).resolve()


@pytest.fixture(scope="session")
def the_lab(scratch: Path) -> Iterator[Any]:
    """A real Keystone and Cinder. Cinder lists seven things at once: everything comes in pages.

    ``VOLFLOW_TEST_LAB`` names the directory of one that is up already, for those who write tests.
    """
    why = _missing()
    if why:
        pytest.skip(why)
    from lab import Lab

    given = os.environ.get("VOLFLOW_TEST_LAB")
    found = Lab(given or scratch / "lab")
    if not given:
        found.up(keystone=True, page=7)
    before = {name: os.environ.get(name) for name in (*found.environment, "OS_CLOUD")}
    os.environ.update(found.environment)
    # Each person's own configuration says who it is.
    del os.environ["OS_CLOUD"]
    try:
        group_types(found)
        yield found
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if not given:
            found.down()


@pytest.fixture(scope="module")
def town(the_lab: Any, scratch: Path) -> Iterator[Town]:
    """The people of the lab, with nothing in it before; what is there in the end is removed."""
    home = Path(tempfile.mkdtemp(prefix="town-", dir=scratch))
    found = Town(home, the_lab, Keystone(the_lab.clouds_file), admin_api(the_lab))
    assert found.everything() == set()
    yield found
    clear(found)
    shutil.rmtree(home, ignore_errors=True)


def clear(town: Town) -> None:
    """Remove everything from the cloud, as an administrator."""
    client = town.lab.cinder("lab-admin")
    anybody = {"all_tenants": 1}
    for attachment in client.attachments.list(search_opts=anybody):
        client.attachments.delete(attachment.id)
    for snapshot in client.group_snapshots.list(search_opts=anybody):
        client.group_snapshots.delete(snapshot.id)
    for snapshot in client.volume_snapshots.list(search_opts=anybody):
        if not getattr(snapshot, "group_snapshot_id", None):
            client.volume_snapshots.delete(snapshot.id)
    for group in client.groups.list(search_opts=anybody):
        # Cinder deletes the volumes with it, and until then no other way.
        client.groups.delete(group.id, delete_volumes=True)
        while not gone(client.groups.get, group.id):
            time.sleep(0.1)
    for volume in client.volumes.list(search_opts=anybody):
        client.volumes.reset_state(volume.id, "available")
        client.volumes.delete(volume.id, cascade=True)
    deadline = 60
    while town.everything() and deadline:
        time.sleep(0.5)
        deadline -= 1
    assert town.everything() == set()
