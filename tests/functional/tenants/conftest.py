"""A lab with a Keystone for the whole session, and the people who use it."""

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
    """A real Keystone and Cinder. Cinder lists seven things at once: everything comes in pages.

    ``VOLFLOW_TEST_LAB`` names the directory of one that is up already, for those who write tests.
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
        # Each person's own configuration says who it is.
        with environment_of(found, without="OS_CLOUD"):
            group_types(found)
            yield found
    finally:
        if not given:
            found.down()


@pytest.fixture(scope="module")
def town(the_lab: Any, scratch: Path) -> Iterator[Town]:
    """The people of the lab. It is empty before, and what is there at the end is removed."""
    home = Path(tempfile.mkdtemp(prefix="town-", dir=scratch))
    found = Town(home, the_lab, Keystone(the_lab.clouds_file), admin_api(the_lab))
    assert found.everything() == set()
    yield found
    found.clear()
    shutil.rmtree(home, ignore_errors=True)
