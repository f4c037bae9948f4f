"""Which properties can be overridden by a restore, and what stays as it is is told."""

from __future__ import annotations

from typing import Any

import pytest

from volflow.errors import UsageError
from volflow.properties import check_overrides, differences

VOLUME: dict[str, Any] = {
    "name": "a",
    "description": None,
    "metadata": {},
    "bootable": "false",
    "volume_type": "fast",
    "attachments": [],
}


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"name": "", "description": "x" * 255, "bootable": True, "readonly": False},
        {"metadata": {"a": ""}, "image_metadata": {"os_distro": "debian"}},
    ],
)
def test_what_can_be_set(good: dict[str, Any]) -> None:
    check_overrides(good)


@pytest.mark.parametrize(
    "bad",
    [
        {"colour": "red"},
        {"size": 1},
        {"name": None},
        {"name": "x" * 256},
        {"bootable": "true"},
        {"metadata": {"a": 1}},
        {"metadata": {"": "x"}},
        {"metadata": {"a": "x" * 256}},
        {"metadata": {"volflow": "run/volume/target"}},
        {"metadata": {"readonly": "True"}},
        {"metadata": []},
    ],
)
def test_what_cannot(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_overrides(bad)


def test_the_type_s_quality_of_service() -> None:
    same = differences(VOLUME, VOLUME, qos=("1", "1"), applied=True)
    assert same == []
    (other,) = differences(VOLUME, VOLUME, qos=("1", None), applied=True)
    assert (other.name, other.was, other.now) == ("qos_specs_id", "1", None)
    assert differences(VOLUME, VOLUME, qos=(None, "2"), applied=True) == []


def test_why_something_differs() -> None:
    now = VOLUME | {"name": "b", "volume_type": "slow"}
    told = {each.name: each for each in differences(VOLUME, now, applied=False)}
    assert told.keys() == {"name", "volume_type"}
    assert told["name"].why == "--meta-override was not given"
    assert (told["volume_type"].was, told["volume_type"].now) == ("fast", "slow")
    (name,) = [d for d in differences(VOLUME, now, applied=True) if d.name == "name"]
    assert name.why == "it was overridden"
