"""The free part of a project's quotas."""

from __future__ import annotations

from cinderclient import exceptions

from tests.support.fake_cinder import FakeClient
from volflow.cloud.quotas import Quota


def test_what_cinder_has_reserved_is_not_free() -> None:
    """A request that was cut off keeps its reservation for a day."""
    cloud = FakeClient()
    cloud.leave(volumes=4, snapshots=2, gigabytes=1)
    cloud.reserve(volumes=1, snapshots=1, gigabytes=3)
    left = cloud.cinder().quotas.left()
    assert left == Quota(volumes=3, snapshots=1, gigabytes=0)


def test_a_reservation_of_the_project_is_no_limit_of_a_type() -> None:
    cloud = FakeClient()
    cloud.reserve(volumes=1)
    assert cloud.cinder().quotas.left() == Quota(None, None, None)


def test_limits_count_where_usage_may_not_be_read() -> None:
    cloud = FakeClient()
    cloud.leave(snapshots=2)
    cloud.reserve(snapshots=1)
    cloud.fail("quotas.get", error=exceptions.Forbidden(403))
    assert cloud.cinder().quotas.left() == Quota(None, 2, None)


def test_what_is_left_is_told_in_the_singular_for_one() -> None:
    assert str(Quota(1, 1, 1)) == "1 volume, 1 snapshot, 1 GiB"
    assert str(Quota(0, 2, None)) == "0 volumes, 2 snapshots"
