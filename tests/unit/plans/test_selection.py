"""The volumes that a selection covers, in cases that a real cloud cannot reproduce."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.cloud.cinder import Cinder
from volflow.errors import QuotaError, ResourceNotFoundError, UsageError, VolumeStateError
from volflow.plans.selection import Selected, Selection

TEMPORARY = "volflow-12345678"


@pytest.fixture
def cloud() -> FakeClient:
    return FakeClient()


def test_a_volume_that_seems_to_be_in_two_groups_is_refused(cloud: FakeClient) -> None:
    """The volume moves from one group to another between two requests."""
    groups = [str(cloud.groups.create("a type").id) for _ in range(2)]
    cloud.put(id="restless", group_id=groups[0])
    cloud.after("groups.get", lambda: cloud.after("groups.get", move))

    def move() -> None:
        cloud.volumes["restless"]["group_id"] = groups[1]

    with pytest.raises(UsageError, match="Volume restless is in two groups"):
        Selection(groups=tuple(groups)).find(cloud.cinder())


def test_a_group_that_is_named_twice_is_refused(cloud: FakeClient) -> None:
    with pytest.raises(UsageError, match="Group a is named more than once"):
        Selection(groups=("a", "a")).find(cloud.cinder())


@pytest.fixture
def marked(cloud: FakeClient) -> Cinder:
    """A Cinder with an unmarked volume, and one volume with each kind of mark."""
    source = cloud.put(name="plain")
    run = f"12345678-0000-4000-8000-000000000000/{source}"
    for name, kind in {"claimed": "claim", "half": "target", "whole": "kept"}.items():
        cloud.put(f"{run}/{kind}", name=name)
    snapshot = cloud.put(f"{run}/snapshot", volume_id=source, name=TEMPORARY)
    cloud.put(f"{run}/volume", name=TEMPORARY, snapshot_id=snapshot)
    return cloud.cinder()


def test_a_volume_being_restored_is_left_out_as_wanted_and_a_temporary_one_as_unwanted(
    marked: Cinder,
) -> None:
    selected = Selection(everything=True).find(marked)
    assert [volume["name"] for volume in selected.volumes] == ["plain", "whole"]
    assert {one.name: one.wanted for one in selected.left_out} == {
        TEMPORARY: False,
        "claimed": True,
        "half": True,
    }
    reasons = {one.name: one.reason for one in selected.left_out}
    assert reasons[TEMPORARY] == "is a temporary volume of a volflow run"
    assert reasons["claimed"].startswith("is being restored by run 12345678-")


@pytest.mark.parametrize(
    "mark",
    ["hello", "team/web/volume", "00000000-0000-4000-8000-000000000000/{}/volume"],
)
def test_a_volume_with_a_forged_mark_is_backed_up_and_reported(
    cloud: FakeClient, mark: str
) -> None:
    volume = cloud.put(name="tenant's data")
    cloud.volumes.set_metadata(volume, {"volflow": mark.format(volume)})
    selected = Selection(everything=True).find(cloud.cinder())
    assert [one["id"] for one in selected.volumes] == [volume]
    assert selected.left_out == []
    (note,) = selected.notes
    assert volume in note
    assert "is not a mark of volflow" in note
    assert Selection(volumes=(volume,)).find(cloud.cinder()).notes == [note]


@pytest.mark.parametrize("name", ["claimed", "half"])
def test_a_volume_being_restored_is_refused_if_it_is_named(marked: Cinder, name: str) -> None:
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
def test_an_empty_name_or_id_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="An empty name or id selects nothing"):
        Selection(**asked).check()


@pytest.mark.parametrize("asked", [{"volumes": "abc"}, {"everything": True, "exclude": "abc"}])
def test_a_text_in_place_of_a_list_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="'abc' is one name or id; give a list"):
        Selection(**asked).check()
    with pytest.raises(UsageError, match="'abc' is one name or id; give a list"):
        Selection.of("abc")


def test_an_error_says_why_no_volume_can_be_backed_up(cloud: FakeClient) -> None:
    """This is not a usage error: the command is right, but the nightly backup stored nothing."""
    with pytest.raises(ResourceNotFoundError, match="no volume to back up in this project"):
        Selection(everything=True).find(cloud.cinder())
    cloud.put(name="busy", status="error")
    with pytest.raises(ResourceNotFoundError, match="busy: is in state 'error'"):
        Selection(everything=True).find(cloud.cinder())


def test_a_group_that_loses_a_volume_is_split() -> None:
    volumes = [{"id": name, "name": name} for name in "abcd"]
    before = Selected(volumes, groups={"g": ["a", "b"], "h": ["c", "d"]})
    after = before.without({"b": QuotaError("no room")})
    assert [volume["id"] for volume in after.volumes] == ["a", "c", "d"]
    assert (after.groups, after.split_groups) == ({"h": ["c", "d"]}, ["g"])
    assert [(one.volume_id, one.reason, one.wanted) for one in after.left_out] == [
        ("b", "no room", True)
    ]
    assert before.left_out == []


def test_the_error_of_a_selection_without_volumes_names_each_reason_once() -> None:
    selected = Selected([{"id": name, "name": name} for name in "ab"])
    with pytest.raises(QuotaError, match=r"^no room$"):
        selected.without({"a": QuotaError("no room"), "b": QuotaError("no room")})
