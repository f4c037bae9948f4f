"""What a selection comes to, where no cloud can be brought to show it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.cloud.cinder import Cinder
from volflow.errors import ResourceNotFoundError, UsageError, VolumeStateError
from volflow.plans.selection import Selection


@pytest.fixture
def cloud() -> FakeClient:
    return FakeClient()


def test_a_volume_in_two_groups_at_once(cloud: FakeClient) -> None:
    """It moves from one group to another while they are looked at."""
    groups = [str(cloud.groups.create("a type").id) for _ in range(2)]
    cloud.put(id="restless", group_id=groups[0])
    cloud.after("groups.get", lambda: cloud.after("groups.get", move))

    def move() -> None:
        cloud.volumes["restless"]["group_id"] = groups[1]

    with pytest.raises(UsageError, match="Volume restless is in two groups"):
        Selection(groups=tuple(groups)).find(cloud.cinder())


def test_one_group_that_is_named_twice(cloud: FakeClient) -> None:
    with pytest.raises(UsageError, match="Group a is named more than once"):
        Selection(groups=("a", "a")).find(cloud.cinder())


@pytest.fixture
def marked(cloud: FakeClient) -> Cinder:
    """A Cinder with a volume that no run has marked, and one of each mark."""
    cloud.put(name="plain")
    kinds = {"clone": "volume", "claimed": "claim", "half": "target", "whole": "kept"}
    for name, kind in kinds.items():
        cloud.put(f"12345678-0000-4000-8000-000000000000/{name}/{kind}", name=name)
    return cloud.cinder()


def test_a_half_restored_volume_is_missed_and_a_temporary_one_is_not(marked: Cinder) -> None:
    selected = Selection(everything=True).find(marked)
    assert [volume["name"] for volume in selected.volumes] == ["plain", "whole"]
    assert {one.name: one.wanted for one in selected.left_out} == {
        "clone": False,
        "claimed": True,
        "half": True,
    }
    reasons = {one.name: one.reason for one in selected.left_out}
    assert reasons["clone"] == "is a temporary volume of a volflow run"
    assert reasons["claimed"].startswith("is being restored by run 12345678-")


@pytest.mark.parametrize("name", ["claimed", "half"])
def test_a_half_restored_volume_that_is_named_is_refused(marked: Cinder, name: str) -> None:
    with pytest.raises(VolumeStateError, match=f"Volume {name} .* is being restored by run 1234"):
        Selection(volumes=(name,)).find(marked)


@pytest.mark.parametrize(
    "asked",
    [
        {"volumes": ("a", "")},
        {"groups": ("",)},
        {"everything": True, "name": ""},
        {"everything": True, "volume_type": ""},
        {"everything": True, "exclude": ("",)},
        {"everything": True, "metadata": {"": "v"}},
    ],
    ids=str,
)
def test_what_is_empty_selects_nothing(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="An empty name or id selects nothing"):
        Selection(**asked).check()


def test_nothing_that_can_be_backed_up(cloud: FakeClient) -> None:
    """No usage is wrong: it is the night's backup that has nothing to show."""
    with pytest.raises(ResourceNotFoundError, match="no volume to back up in this project"):
        Selection(everything=True).find(cloud.cinder())
    cloud.put(name="busy", status="error")
    with pytest.raises(ResourceNotFoundError, match="busy: is in state 'error'"):
        Selection(everything=True).find(cloud.cinder())
