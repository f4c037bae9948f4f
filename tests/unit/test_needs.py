"""What is taken of a quota, and how many volumes at a time it allows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from volflow import preflight
from volflow.cinder import Cinder, Quota
from volflow.errors import QuotaError
from volflow.needs import for_restore


def _cinder(**left: int | None) -> Cinder:
    quota = Quota(**({"volumes": None, "snapshots": None, "gigabytes": None} | left))
    return cast(Cinder, SimpleNamespace(quota_left=lambda: quota, project_id="a project"))


@pytest.mark.parametrize(
    ("left", "parallel"),
    [
        ({}, 3),
        ({"snapshots": 2}, 2),
        # One volume of 4 GiB stays; snapshots of 5 GiB, then of 3 GiB, fit beside it.
        ({"gigabytes": 12}, 2),
        ({"gigabytes": 9}, 1),
    ],
)
def test_a_restore(left: dict[str, int], parallel: int) -> None:
    found, need = for_restore(_cinder(**left), [4], [1, 5, 3], 3)
    assert found == parallel
    assert need.held
    assert need.volumes == 1


@pytest.mark.parametrize("left", [{"snapshots": 0}, {"gigabytes": 8}, {"volumes": 0}])
def test_a_restore_that_does_not_fit(left: dict[str, int]) -> None:
    with pytest.raises(QuotaError, match="cannot hold what the restore takes"):
        for_restore(_cinder(**left), [4], [1, 5, 3], 3)


def test_a_restore_without_snapshots() -> None:
    found, need = for_restore(_cinder(snapshots=0), [1, 2], [], 10)
    assert (found, need.snapshots, need.gigabytes) == (10, 0, 3)


def test_a_group_takes_all_its_snapshots_at_once() -> None:
    together = [[1, 1, 1], [2], [2]]
    assert preflight.needed(together, 1) == (3, 3 + 2)
    assert preflight.needed(together, 2) == (4, 3 + 2 + 2 + 2)
    assert preflight.parallel_by_quota(_cinder(snapshots=4), together, 10) == 2
    with pytest.raises(QuotaError, match="of a group and a volume of it"):
        preflight.parallel_by_quota(_cinder(snapshots=2), together, 10)
