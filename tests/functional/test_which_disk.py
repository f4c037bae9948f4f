"""A copy that fails for a full disk names it, whatever the files of the volume are called."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import namespaces, repository, restic
from tests.support.cloud import run, unmount
from tests.support.restic_programs import newest
from tests.support.saving import REGION, directory_namespace, save, save_directory
from volflow.errors import FullError, HostError, RepositoryError, VolflowError
from volflow.movers.restic.mover import ResticMover

MIB = 2**20
# They were taken for words of restic.
HOSTILE = ("forbidden", "no such host", "wrong password or no key found", "read-only file system")


@pytest.fixture(params=["the host's", "the newest"])
def program(request: pytest.FixtureRequest) -> str:
    """A restic."""
    if why := namespaces.missing():
        pytest.skip(why)
    found = "restic" if request.param == "the host's" else newest()
    if not found:
        pytest.skip("no newer restic")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What is saved: 40 MiB, below names that are words of errors."""
    tree = tmp_path / "tree"
    with open("/dev/urandom", "rb") as content:
        for name in HOSTILE:
            (tree / name).mkdir(parents=True)
            (tree / name / "access denied").write_bytes(content.read(10 * MIB))
    return tree


@contextmanager
def _small(path: Path, options: str) -> Iterator[Path]:
    path.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path))
    try:
        yield path
    finally:
        unmount(path)


def _mover(directory: Path, program: str, **options: object) -> ResticMover:
    return ResticMover(restic.program(directory, restic=program, **options))


def test_a_repository_that_is_full_is_named(tmp_path: Path, tree: Path, program: str) -> None:
    with _small(tmp_path / "small", "size=5m") as small:
        repository.make(small / "repository", "secret")
        mover = _mover(tmp_path, program, location=str(small / "repository"))
        with pytest.raises(RepositoryError, match=f"^The repository {small}/.* is full") as error:
            save_directory(mover, tree)
        assert type(error.value) is RepositoryError


def test_a_temporary_directory_that_is_full_is_named(
    tmp_path: Path, tree: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.make(tmp_path / "repository", "secret")
    with _small(tmp_path / "small", "size=1m") as small:
        monkeypatch.setenv("TMPDIR", str(small))
        with pytest.raises(VolflowError, match=f"The temporary directory {small} is full"):
            save_directory(_mover(tmp_path, program), tree)


@pytest.mark.parametrize(
    ("options", "kind", "why"),
    [
        ("size=5m", FullError, "is full .* bytes free"),
        ("nr_inodes=5", FullError, "is full: it has . free inodes"),
        ("ro", HostError, "is read-only"),
    ],
)
def test_a_target_that_takes_nothing_is_named(
    tmp_path: Path, tree: Path, program: str, options: str, kind: type[VolflowError], why: str
) -> None:
    repository.make(tmp_path / "repository", "secret")
    mover = _mover(tmp_path, program)
    saved = save_directory(mover, tree)
    with (
        _small(tmp_path / "small", options) as small,
        directory_namespace(small) as namespace,
        pytest.raises(kind, match=f"^The file system that is restored to {why}") as error,
    ):
        mover.restore(
            namespace,
            saved.id,
            [REGION],
            progress=lambda _: None,
            stopping=threading.Event(),
        )
    assert type(error.value) is kind


def test_a_repository_that_becomes_read_only_is_named(
    tmp_path: Path, tree: Path, program: str
) -> None:
    with _small(tmp_path / "small", "size=100m") as small:
        repository.make(small / "repository", "secret")
        mover = _mover(tmp_path, program, location=str(small / "repository"))
        run("mount", "-o", "remount,ro", str(small))
        with (
            directory_namespace(tree) as namespace,
            pytest.raises(RepositoryError, match=f"The repository {small}.* cannot be written to"),
        ):
            save(mover, namespace)
