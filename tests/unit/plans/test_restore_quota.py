"""The quota that a restore needs, and how many volumes it allows in parallel."""

from __future__ import annotations

import pytest

from tests.support.quotas import cinder, sizes
from volflow.errors import QuotaError
from volflow.plans.restore_quota import use_of_restore


@pytest.mark.parametrize(
    ("left", "parallel"),
    [
        ({}, 3),
        ({"snapshots": 2}, 2),
        # One new volume of 4 GiB stays; there is also space for snapshots of 5 GiB, then of 3 GiB.
        ({"gigabytes": 12}, 2),
        ({"gigabytes": 9}, 1),
    ],
)
def test_the_quota_limits_how_many_volumes_are_restored_in_parallel(
    left: dict[str, int], parallel: int
) -> None:
    found, use = use_of_restore(cinder(**left), sizes(4), sizes(1, 5, 3), 3)
    assert found == parallel
    assert use.fits
    assert use.volumes == 1


@pytest.mark.parametrize("left", [{"snapshots": 0}, {"gigabytes": 8}, {"volumes": 0}])
def test_a_restore_that_does_not_fit_is_refused(left: dict[str, int]) -> None:
    with pytest.raises(QuotaError, match="cannot hold what the restore needs"):
        use_of_restore(cinder(**left), sizes(4), sizes(1, 5, 3), 3)


def test_a_restore_to_new_volumes_takes_no_snapshots() -> None:
    found, use = use_of_restore(cinder(snapshots=0), sizes(1, 2), [], 10)
    assert (found, use.snapshots, use.gigabytes) == (10, 0, 3)


def test_a_restore_beyond_the_quota_of_a_type_is_refused() -> None:
    found = cinder({"fast": {"volumes": 1, "gigabytes": 9}})
    fast = sizes(4, volume_type="fast")
    assert use_of_restore(found, [*fast, *sizes(50)], [*fast, *fast], 2)[0] == 1
    with pytest.raises(QuotaError, match="for volume type 'fast' cannot hold what the restore"):
        use_of_restore(found, [*fast, *fast], [], 2)
