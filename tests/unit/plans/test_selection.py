"""What a selection comes to, where no cloud can be brought to show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from volflow.cloud.cinder import Cinder
from volflow.errors import ResourceNotFoundError, UsageError, VolumeStateError
from volflow.plans.selection import Selection


class Moving:
    """A Cinder in which a volume moves from one group to another while it is looked at."""

    def __init__(self) -> None:
        self.client = SimpleNamespace(groups=self)

    def get(self, group_id: str) -> Any:
        return SimpleNamespace(to_dict=lambda: {"id": group_id, "name": group_id})

    def group_volumes(self, group_id: str) -> list[dict[str, Any]]:
        return [
            {"id": each, "name": each, "status": "available", "encrypted": False, "metadata": {}}
            for each in (f"only in {group_id}", "restless")
        ]


def test_a_volume_in_two_groups_at_once() -> None:
    with pytest.raises(UsageError, match="Volume restless is in two groups"):
        Selection(groups=("a", "b")).find(cast(Cinder, Moving()))


def test_one_group_that_is_named_twice() -> None:
    with pytest.raises(UsageError, match="Group a is named more than once"):
        Selection(groups=("a", "a")).find(cast(Cinder, Moving()))


def marked(name: str, kind: str) -> dict[str, Any]:
    tag = {"volflow": f"12345678-0000-4000-8000-000000000000/{name}/{kind}"} if kind else {}
    return {
        "id": name,
        "name": name,
        "status": "available",
        "encrypted": False,
        "group_id": None,
        "volume_type": "one",
        "metadata": tag,
    }


class Marked:
    """A Cinder with a volume that no run has marked, and one of each mark."""

    found: ClassVar = [
        marked("plain", ""),
        marked("clone", "volume"),
        marked("claimed", "claim"),
        marked("half", "target"),
        marked("whole", "kept"),
    ]

    def volumes(self, *, all_tenants: bool) -> list[dict[str, Any]]:
        return self.found

    def find_volume(self, name: str) -> dict[str, Any]:
        return next(volume for volume in self.found if volume["name"] == name)


def test_a_half_restored_volume_is_missed_and_a_temporary_one_is_not() -> None:
    selected = Selection(everything=True).find(cast(Cinder, Marked()))
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
def test_a_half_restored_volume_that_is_named_is_refused(name: str) -> None:
    with pytest.raises(VolumeStateError, match=f"Volume {name} .* is being restored by run 1234"):
        Selection(volumes=(name,)).find(cast(Cinder, Marked()))


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


def test_nothing_that_can_be_backed_up() -> None:
    """No usage is wrong: it is the night's backup that has nothing to show."""
    busy = {"id": "v", "name": "busy", "status": "error", "encrypted": False, "metadata": {}}
    empty = SimpleNamespace(volumes=lambda all_tenants: [])
    left_out = SimpleNamespace(volumes=lambda all_tenants: [busy])
    with pytest.raises(ResourceNotFoundError, match="no volume to back up in this project"):
        Selection(everything=True).find(cast(Cinder, empty))
    with pytest.raises(ResourceNotFoundError, match="busy: is in state 'error'"):
        Selection(everything=True).find(cast(Cinder, left_out))
