"""Labs for the tests of the lab. Tests remove their resources by id, and whole labs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.lab_tools import (
    CinderUser,
    remains,
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab without Keystone that the tests share."""
    lab = Lab(tmp_path_factory.mktemp("shared") / "lab")
    try:
        yield lab.up(size_gib=20)
    finally:
        lab.down()
    assert not remains(lab.directory.path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Lab]:
    """A lab for one test, which is not up yet. It is taken down at the end in any case."""
    lab = Lab(tmp_path / "lab")
    try:
        yield lab
    finally:
        lab.down()
    assert not remains(lab.directory.path)


@pytest.fixture
def cloud(running: Lab) -> Iterator[CinderUser]:
    """The shared lab's Cinder, clean again after the test."""
    found = CinderUser(running.cinder())
    try:
        yield found
    finally:
        found.clean()
