"""The subjects of the conformance tests. Add a new mover or storage here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import namespaces, restic_programs
from tests.support.repositories import MemorySubject, ResticSubject, Subject


def _old_restic(directory: Path) -> Subject:
    return ResticSubject(directory, _system())


def _new_restic(directory: Path) -> Subject:
    return ResticSubject(directory, _newest())


def _old_restic_by_rest(directory: Path) -> Subject:
    return ResticSubject(directory, _system(), rest=True)


def _new_restic_by_rest(directory: Path) -> Subject:
    return ResticSubject(directory, _newest(), rest=True)


def _native(directory: Path) -> Subject:
    return ResticSubject(directory, _system(), native=True)


def _memory(directory: Path) -> Subject:
    return MemorySubject()


def _system() -> str:
    found = shutil.which("restic")
    if found is None:
        pytest.skip("restic is not installed")
    return found


def _newest() -> str:
    found = restic_programs.newest()
    if found is None:
        pytest.skip(
            "a newer restic cannot be downloaded from Debian; VOLFLOW_NEWEST_RESTIC names one"
        )
    return found


_NEWEST = "newest-restic"
MOVERS: dict[str, Callable[[Path], Subject]] = {
    "restic": _old_restic,
    _NEWEST: _new_restic,
    "native": _native,
    "memory": _memory,
}
STORAGES: dict[str, Callable[[Path], Subject]] = {
    "directory": _old_restic,
    "directory-newest-restic": _new_restic,
    "rest-server": _old_restic_by_rest,
    "rest-server-newest-restic": _new_restic_by_rest,
    "memory": _memory,
}


@pytest.fixture(scope="session", autouse=True)
def _can_mount() -> None:
    if why := namespaces.missing():
        pytest.skip(why)


@pytest.fixture
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """A repository that exists and is empty, with its mover."""
    directory = tmp_path / "subject"
    directory.mkdir()
    found: Subject = request.param(directory)
    try:
        yield found
    finally:
        found.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test of movers on every mover, and every test of repositories on every storage."""
    if "subject" in metafunc.fixturenames:
        kinds = MOVERS if "test_mover" in metafunc.module.__name__ else STORAGES
        images = metafunc.module.__name__.endswith("_images")
        subjects = [
            # restic stores an image like any other file: one version is enough for every change.
            pytest.param(
                make, id=name, marks=[pytest.mark.slow] if images and name == _NEWEST else []
            )
            for name, make in kinds.items()
        ]
        metafunc.parametrize("subject", subjects, indirect=True)
