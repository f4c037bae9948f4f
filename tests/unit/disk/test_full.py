"""A failure on a full file system names it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import namespaces
from tests.support.cloud import run
from volflow.disk import full
from volflow.errors import FullError, HostError, RepositoryError, StoppedError

TARGET = Path("/somewhere/target")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system that is full."""
    if why := namespaces.missing():
        pytest.skip(why)
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path))
    try:
        with open(tmp_path / "filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, 2**20)
        yield tmp_path
    finally:
        run("umount", str(tmp_path))


@pytest.mark.parametrize(
    "error",
    [
        FullError("The file system that is restored to is full.", "restic said: no"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_an_error_that_names_the_reason_is_enough(error: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(FullError, match=f"^{TARGET} could not be written.* is full"),
        full.told(TARGET, tmp_path),
    ):
        raise error


def test_an_input_or_output_error_on_a_full_file_system_is_explained(small: Path) -> None:
    with (
        pytest.raises(
            FullError, match=rf"^{TARGET} .* is full \(0 bytes free\).*sync: Input/output error"
        ),
        full.told(TARGET, small),
    ):
        raise HostError("sync: Input/output error")
    assert [each.name for each in small.iterdir()] == ["filler"]


@pytest.mark.parametrize("error", [RepositoryError("away"), StoppedError("stop")])
def test_other_errors_stay_what_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error), match=f"^{error}$"), full.told(TARGET, tmp_path):
        raise error


def test_an_error_of_the_system_names_the_target(tmp_path: Path) -> None:
    with (
        pytest.raises(HostError, match=f"^{TARGET} could not be written: .*too large"),
        full.told(TARGET, tmp_path),
    ):
        raise OSError(errno.EFBIG, "File too large")


def test_a_stop_on_a_full_file_system_stays_one(small: Path) -> None:
    with pytest.raises(StoppedError), full.told(TARGET, small):
        raise StoppedError("stop")


def test_a_file_system_that_was_nearly_full_is_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    def free(gib: float) -> None:
        left = int(gib * 2**30)
        found = SimpleNamespace(f_bavail=left, f_bfree=left, f_blocks=2**40, f_frsize=1)
        monkeypatch.setattr(os, "statvfs", lambda _: found)

    free(100)
    watch = full.Watch(TARGET)
    free(50)
    assert not watch.doubtful
    free(2)
    watch.look()
    free(50)
    assert watch.doubtful
    free(1)
    small = full.Watch(TARGET)
    assert not small.doubtful
    free(0.2)
    assert small.doubtful
