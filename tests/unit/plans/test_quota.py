"""The quota that temporary resources and new volumes need."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.support.quotas import cinder, sizes
from volflow.cloud.cinder import Cinder
from volflow.cloud.quotas import Quota
from volflow.cloud.volumes import Volume
from volflow.errors import QuotaError
from volflow.plans.quota import (
    QuotaUse,
    VolumeSize,
    check_new_volumes,
    parallel_by_quota,
    temporary_use,
    volumes_without_room,
)


def _parallel(found: Cinder, together: Sequence[Sequence[VolumeSize]], most: int) -> int:
    return parallel_by_quota(found, found.quotas.left(), together, most)


def test_a_group_takes_all_its_snapshots_at_once() -> None:
    together = [sizes(1, 1, 1), sizes(2), sizes(2)]
    assert temporary_use(together, 1) == (1, 3, 3 + 2)
    assert temporary_use(together, 2) == (2, 4, 3 + 2 + 2 + 2)
    assert _parallel(cinder(snapshots=4), together, 10) == 2
    with pytest.raises(QuotaError, match="of a group and a volume of it"):
        _parallel(cinder(snapshots=2), together, 10)


@pytest.mark.parametrize(
    ("left", "parallel"),
    [({"volumes": 2}, 2), ({"snapshots": 1}, 1), ({"gigabytes": 9}, 2), ({}, 4)],
    ids=str,
)
def test_the_quota_of_a_type_allows_fewer_in_parallel(left: dict[str, int], parallel: int) -> None:
    together = [*([one] for one in sizes(1, 2, 2, volume_type="fast")), sizes(9)]
    found = cinder({"fast": left}, volumes=100)
    assert _parallel(found, together, 10) == parallel


def test_the_error_names_the_type_whose_quota_is_used_up() -> None:
    found = cinder({"fast": {"snapshots": 0}, "slow": {"snapshots": 1}})
    fast = sizes(1, volume_type="fast")
    with pytest.raises(QuotaError, match=r"a project for volume type 'fast' .* left: 0 snapshots"):
        _parallel(found, [fast, sizes(1)], 10)
    assert _parallel(found, [sizes(1)], 10) == 1


def test_one_of_something_is_told_in_the_singular() -> None:
    unlimited, some = Quota(None, None, None), Quota(2, 50, None)
    assert str(QuotaUse("p", 1, 1, 1, unlimited)) == "1 volume, 1 snapshot, 1 GiB"
    assert str(QuotaUse("p", 1, 2, 4, some)) == "1 volume of 2 left, 2 snapshots of 50 left, 4 GiB"


def test_volumes_that_do_not_fit_in_the_quota_of_their_type_are_found() -> None:
    found = cinder({"fast": {"gigabytes": 4}})
    volumes = [
        {"id": f"{kind} {size}", "size": size, "volume_type": kind}
        for kind in ("fast", "slow")
        for size in (2, 3)
    ]

    def without_room(together: Sequence[Sequence[Volume]]) -> list[str]:
        return list(volumes_without_room(found, found.quotas.left(), together))

    assert without_room([[one] for one in volumes]) == ["fast 3"]
    # Two volumes that share a group snapshot need two snapshots at the same time.
    assert without_room([[one for one in volumes if one["size"] == 2], volumes[1:2]]) == ["fast 3"]
    assert without_room([volumes]) == ["fast 2", "fast 3"]


def test_new_volumes_beyond_the_quota_of_their_type_are_refused() -> None:
    found = cinder({"fast": {"volumes": 1, "gigabytes": 9}})
    fast = sizes(4, volume_type="fast")
    check_new_volumes(found, [*fast, *sizes(50)])
    with pytest.raises(QuotaError, match="for volume type 'fast' cannot hold 2 new volumes"):
        check_new_volumes(found, [*fast, *fast])
