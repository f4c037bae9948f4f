"""What is taken of a quota, and how many volumes at a time it allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import cast

import pytest

from volflow.cloud.cinder import Cinder
from volflow.cloud.quotas import Quota
from volflow.cloud.volumes import Volume
from volflow.errors import QuotaError
from volflow.plans import quota
from volflow.plans.quota import VolumeSize
from volflow.plans.restore_quota import use_of_restore


def _quota(types: Mapping[str, Quota] | None = None, **left: int | None) -> Quota:
    return Quota(
        left.get("volumes"), left.get("snapshots"), left.get("gigabytes"), types=types or {}
    )


def _cinder(types: Mapping[str, Quota] | None = None, **left: int | None) -> Cinder:
    quota = _quota(types, **left)
    quotas = SimpleNamespace(left=lambda: quota)
    return cast(Cinder, SimpleNamespace(quotas=quotas, project_id="a project"))


def _parallel(cinder: Cinder, together: Sequence[Sequence[VolumeSize]], most: int) -> int:
    return quota.parallel_by_quota(cinder, cinder.quotas.left(), together, most)


def _no_room_for(cinder: Cinder, together: Sequence[Sequence[Volume]]) -> dict[str, QuotaError]:
    return quota.volumes_without_room(cinder, cinder.quotas.left(), together)


def _sized(*sizes: int, volume_type: str = "slow") -> list[VolumeSize]:
    return [VolumeSize(size, volume_type) for size in sizes]


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
    found, need = use_of_restore(_cinder(**left), _sized(4), _sized(1, 5, 3), 3)
    assert found == parallel
    assert need.fits
    assert need.volumes == 1


@pytest.mark.parametrize("left", [{"snapshots": 0}, {"gigabytes": 8}, {"volumes": 0}])
def test_a_restore_that_does_not_fit(left: dict[str, int]) -> None:
    with pytest.raises(QuotaError, match="cannot hold what the restore needs"):
        use_of_restore(_cinder(**left), _sized(4), _sized(1, 5, 3), 3)


def test_a_restore_without_snapshots() -> None:
    found, need = use_of_restore(_cinder(snapshots=0), _sized(1, 2), [], 10)
    assert (found, need.snapshots, need.gigabytes) == (10, 0, 3)


def test_a_group_takes_all_its_snapshots_at_once() -> None:
    together = [_sized(1, 1, 1), _sized(2), _sized(2)]
    assert quota.temporary_use(together, 1) == (1, 3, 3 + 2)
    assert quota.temporary_use(together, 2) == (2, 4, 3 + 2 + 2 + 2)
    assert _parallel(_cinder(snapshots=4), together, 10) == 2
    with pytest.raises(QuotaError, match="of a group and a volume of it"):
        _parallel(_cinder(snapshots=2), together, 10)


# The quotas of volume types


@pytest.mark.parametrize(
    ("left", "parallel"),
    [({"volumes": 2}, 2), ({"snapshots": 1}, 1), ({"gigabytes": 9}, 2), ({}, 4)],
    ids=str,
)
def test_a_type_allows_fewer_at_a_time(left: dict[str, int], parallel: int) -> None:
    together = [*([one] for one in _sized(1, 2, 2, volume_type="fast")), _sized(9)]
    cinder = _cinder({"fast": _quota(**left)}, volumes=100)
    assert _parallel(cinder, together, 10) == parallel


def test_a_type_that_has_no_room_is_named() -> None:
    cinder = _cinder({"fast": _quota(snapshots=0), "slow": _quota(snapshots=1)})
    fast = _sized(1, volume_type="fast")
    with pytest.raises(QuotaError, match=r"a project for volume type 'fast' .* left: 0 snapshots"):
        _parallel(cinder, [fast, _sized(1)], 10)
    assert _parallel(cinder, [_sized(1)], 10) == 1


def test_volumes_that_their_type_has_no_room_for() -> None:
    cinder = _cinder({"fast": _quota(gigabytes=4)})
    volumes = [
        {"id": f"{kind} {size}", "size": size, "volume_type": kind}
        for kind in ("fast", "slow")
        for size in (2, 3)
    ]
    assert list(_no_room_for(cinder, [[one] for one in volumes])) == ["fast 3"]
    # Together they take two snapshots at once.
    together = [[one for one in volumes if one["size"] == 2], volumes[1:2]]
    assert list(_no_room_for(cinder, together)) == ["fast 3"]
    assert list(_no_room_for(cinder, [volumes])) == ["fast 2", "fast 3"]


def test_a_restore_beyond_the_quota_of_a_type() -> None:
    cinder = _cinder({"fast": _quota(volumes=1, gigabytes=9)})
    fast = _sized(4, volume_type="fast")
    assert use_of_restore(cinder, [*fast, *_sized(50)], [*fast, *fast], 2)[0] == 1
    with pytest.raises(QuotaError, match="for volume type 'fast' cannot hold what the restore"):
        use_of_restore(cinder, [*fast, *fast], [], 2)
    quota.check_new_volumes(cinder, [*fast, *_sized(50)])
    with pytest.raises(QuotaError, match="for volume type 'fast' cannot hold 2 new volumes"):
        quota.check_new_volumes(cinder, [*fast, *fast])
