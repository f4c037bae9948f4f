"""A lab for the session, and a repository, a state directory and an audit for each test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import tree
from tests.support.auditor import Api
from tests.support.controlled_runs import run
from tests.support.ground import Ground
from tests.support.rest_server import RestServer
from tests.support.site import Site, environment_of, missing, new_site
from tests.support.volflow_process import ready


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for all files, removed at the end. Not on a tmpfs, as that may be small."""
    with tempfile.TemporaryDirectory(prefix="volflow-tests-", ignore_cleanup_errors=True) as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def the_lab(scratch: Path) -> Iterator[Any]:
    """A real Cinder for all tests."""
    why = missing()
    if why:
        pytest.skip(why)
    from lab import Lab

    found = Lab(scratch / "lab")
    found.up()
    try:
        with environment_of(found):
            yield found
    finally:
        found.down()


@pytest.fixture(scope="session")
def api(the_lab: Any) -> Api:
    """The lab's API as the auditor sees it."""
    from lab import settings

    return Api.noauth(the_lab.endpoint, settings.USER, settings.PROJECT)


@pytest.fixture
def site(scratch: Path, the_lab: Any, api: Api) -> Iterator[Site]:
    """A repository, a state directory and the lab, audited after the test."""
    with new_site(scratch, the_lab, api) as found:
        yield found


@pytest.fixture(scope="module")
def shared_site(scratch: Path, the_lab: Any, api: Api) -> Iterator[Site]:
    """One site for all tests of a file, audited after the last test."""
    with new_site(scratch, the_lab, api) as found:
        yield found


@pytest.fixture(scope="session")
def fork_server() -> None:
    """The process from which runs are forked. It must exist before a site records processes."""
    ready()


@pytest.fixture
def volume(site: Site) -> str:
    """A volume with a few files on it, and a backup of them."""
    found = site.cloud.create(name="volume")
    site.cloud.fill(found, "ext4", _fill)
    assert run(site, "backup", found).result == "complete"
    return found


def _fill(root: Path) -> None:
    for number in range(20):
        (root / f"{number:02}").write_text(f"{number}\n" * 100)


@pytest.fixture
def slow(site: Site) -> Iterator[RestServer]:
    """A repository that can stop answering in the middle of a copy."""
    with RestServer(site.home / "slow") as server:
        site.overrides["repository__location"] = server.location
        site.cli("repository", "init")
        yield server
        server.go_on()


@pytest.fixture
def large(site: Site) -> str:
    """A volume with more data than one pack of restic holds."""
    found = site.cloud.create(name="large")
    site.cloud.fill(
        found, "ext4", lambda root: (root / "large").write_bytes(os.urandom(48 * tree.MIB))
    )
    return found


@pytest.fixture(scope="module")
def ground(shared_site: Site, the_lab: Any) -> Ground:
    """A site with a volume that could be backed up, and a backup of it."""
    volume = shared_site.cloud.create(name="good")
    shared_site.cloud.fill(volume, "ext4", lambda root: (root / "file").write_text("content\n"))
    result = shared_site.backup(volume)
    return Ground(
        shared_site, volume, result.volumes[0].backup_id, the_lab.directory.database("cinder")
    )
