"""What restic says of the place that a backup is restored to is not said of the repository."""

from __future__ import annotations

import pytest

from volflow.errors import FullError, RepositoryError, VolflowError
from volflow.movers.restic.messages import meaning

SAID = "ignoring error for /regions/0/blob: write /m/regions/0/blob: no space left on device"


def _meaning(doing: str, said: str) -> VolflowError:
    return meaning("/r", doing, 1, [said, "Fatal: There were 1 errors"])


@pytest.mark.parametrize("why", ["no space left on device", "disk quota exceeded"])
def test_a_target_that_is_full_is_not_the_repository(why: str) -> None:
    error = _meaning("restore", SAID.replace("no space left on device", why))
    assert isinstance(error, FullError)
    assert "repository" not in str(error)
    assert why in error.said


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("backup", "Save(<data/1>) returned error: write: no space left on device"),
        ("restore", "unable to create lock in backend: open /r/locks/1: no space left on device"),
    ],
)
def test_a_repository_that_takes_nothing_is_named(doing: str, said: str) -> None:
    error = _meaning(doing, said)
    assert isinstance(error, RepositoryError)
    assert "The repository /r " in str(error)
