"""The quota that a backup needs in the projects that own its temporary resources."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.quotas import cinder
from volflow.cloud.cinder import Cinder
from volflow.cloud.connection import Cloud
from volflow.errors import CloudError, QuotaError
from volflow.plans.backup_quota import limits, quota_use
from volflow.plans.selection import Selected

LOGIN = ""


def volume(
    name: str, project: str = "p", size: int = 1, volume_type: str = "one"
) -> dict[str, Any]:
    return {
        "id": name,
        "size": size,
        "volume_type": volume_type,
        "os-vol-tenant-attr:tenant_id": project,
    }


def cloud(projects: dict[str, Cinder]) -> Cloud:
    """A cloud in which these projects can be used, and no others."""

    def in_project(project_id: str) -> Cinder:
        if project_id not in projects:
            raise CloudError(f"no role in {project_id}")
        return projects[project_id]

    return cast(Cloud, SimpleNamespace(in_project=in_project, cinder=cinder()))


def test_the_smallest_quota_limits_how_many_volumes_run_in_parallel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    selected = Selected([volume("a"), volume("b"), volume("c", "q"), volume("d", "q")])
    found = cloud({"p": cinder(snapshots=9), "q": cinder(snapshots=1)})
    allowed = limits(found, selected, 4, leave_out=False, as_tenant=True)
    assert (allowed.parallel, allowed.troubles) == (1, {})
    assert "1 volume in parallel instead of 4: the quota of project q" in caplog.text


def test_a_project_with_few_volumes_does_not_slow_down_the_others() -> None:
    selected = Selected([volume("a"), *(volume(name, "q") for name in "bcd")])
    found = cloud({"p": cinder(snapshots=1), "q": cinder()})
    assert limits(found, selected, 3, leave_out=False, as_tenant=True).parallel == 3


def test_a_project_with_too_little_quota_stops_only_its_own_volumes() -> None:
    selected = Selected([volume("a"), volume("b", "q"), volume("c", "closed")])
    found = cloud({"p": cinder(), "q": cinder(volumes=0)})
    allowed = limits(found, selected, 2, leave_out=False, as_tenant=True)
    assert set(allowed.troubles) == {"b", "c"}
    assert isinstance(allowed.troubles["b"], QuotaError)
    assert "no role in closed" in str(allowed.troubles["c"])


def test_too_little_quota_of_the_login_refuses_the_backup() -> None:
    with pytest.raises(QuotaError, match="cannot hold the temporary snapshot and volume"):
        limits(
            cloud({LOGIN: cinder(volumes=0)}),
            Selected([volume("a"), volume("b", "q")]),
            2,
            leave_out=True,
            as_tenant=False,
        )


def test_volumes_of_a_type_without_quota_can_be_left_out() -> None:
    selected = Selected([volume("a"), volume("b", volume_type="full")])
    found = cloud({LOGIN: cinder({"full": {"volumes": 0}})})
    assert set(limits(found, selected, 2, leave_out=True, as_tenant=False).troubles) == {"b"}
    with pytest.raises(QuotaError, match="for volume type 'full'"):
        limits(found, selected, 2, leave_out=False, as_tenant=False)


def test_the_use_counts_the_largest_volumes_that_run_in_parallel() -> None:
    members = [volume("a", size=1), volume("b", size=2)]
    selected = Selected([*members, volume("c", size=5)], groups={"g": ["a", "b"]})
    found = cloud({LOGIN: cinder()})
    allowed = limits(found, selected, 1, leave_out=False, as_tenant=False)
    (use,) = quota_use(found, selected, allowed, as_tenant=False)
    assert use.project_id == "a project"
    # Both snapshots of the group at the same time, or the one of 5 GiB; and one volume.
    assert (use.volumes, use.snapshots, use.gigabytes) == (1, 2, 5 + 5)
