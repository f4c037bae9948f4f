"""A lab for the whole session, and for each test a repository, a state directory and an audit."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.auditor import Api
from tests.support.site import Site, missing, new_site


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for everything, which is gone in the end. Not on a tmpfs that may be small."""
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
    before = {name: os.environ.get(name) for name in found.environment}
    os.environ.update(found.environment)
    try:
        yield found
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        found.down()


@pytest.fixture(scope="session")
def api(the_lab: Any) -> Api:
    """The lab's API as the auditor sees it."""
    from lab import settings

    return Api.noauth(the_lab.endpoint, settings.USER, settings.PROJECT)


@pytest.fixture
def site(scratch: Path, the_lab: Any, api: Api) -> Iterator[Site]:
    """A repository, a state directory and the lab; audited when the test has ended."""
    with new_site(scratch, the_lab, api) as found:
        yield found


@pytest.fixture(scope="module")
def shared_site(scratch: Path, the_lab: Any, api: Api) -> Iterator[Site]:
    """One site for all tests of a file; audited when the last of them has ended."""
    with new_site(scratch, the_lab, api) as found:
        yield found
