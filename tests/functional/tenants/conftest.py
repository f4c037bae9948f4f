"""A lab with Keystone for the session, and its users."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.people import Keystone, Town, admin_api, group_types
from tests.support.site import environment_of, missing


@pytest.fixture(scope="session")
def the_lab(scratch: Path) -> Iterator[Any]:
    """A real Keystone and Cinder. Cinder returns seven resources a page: every list has pages.

    ``VOLFLOW_TEST_LAB`` names the directory of a lab that is already up, to write tests quickly.
    """
    why = missing("keystone")
    if why:
        pytest.skip(why)
    from lab import Lab

    given = os.environ.get("VOLFLOW_TEST_LAB")
    found = Lab(given or scratch / "lab")
    if not given:
        found.up(keystone=True, page=7)
    try:
        # Each user's own configuration names the login.
        with environment_of(found, without="OS_CLOUD"):
            group_types(found)
            yield found
    finally:
        if not given:
            found.down()


@pytest.fixture(scope="module")
def town(the_lab: Any, scratch: Path) -> Iterator[Town]:
    """The users of the lab, which is empty at the start and emptied at the end."""
    home = Path(tempfile.mkdtemp(prefix="town-", dir=scratch))
    found = Town(home, the_lab, Keystone(the_lab.clouds_file), admin_api(the_lab))
    assert found.everything() == set()
    yield found
    found.clear()
    shutil.rmtree(home, ignore_errors=True)
