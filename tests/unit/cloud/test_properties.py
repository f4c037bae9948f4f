"""Which properties a restore can override, and how it reports those that still differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.cloud.properties import NOT_VISIBLE, Properties, check_overrides, differences
from volflow.errors import StoppedError, UsageError

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
def test_a_valid_override_is_accepted(good: dict[str, Any]) -> None:
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
def test_an_invalid_override_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_overrides(bad)


def test_another_quality_of_service_of_the_type_is_reported() -> None:
    same = differences(VOLUME, VOLUME, qos=("1", "1"), applied=True)
    assert same == []
    for qos in (("1", None), (None, "2"), ("1", "2")):
        (other,) = differences(VOLUME, VOLUME, qos=qos, applied=True)
        assert (other.name, other.was, other.now) == ("qos_specs_id", *qos)


def test_a_quality_of_service_that_this_user_cannot_see_is_reported() -> None:
    assert differences(VOLUME, VOLUME, qos=(NOT_VISIBLE, NOT_VISIBLE), applied=True) == []
    for qos in (("1", NOT_VISIBLE), (NOT_VISIBLE, None)):
        (difference,) = differences(VOLUME, VOLUME, qos=qos, applied=True)
        assert (difference.was, difference.now, difference.why) == (
            *qos,
            "only administrators see it",
        )


@pytest.mark.parametrize("was", [None, "enabled"])
def test_another_replication_status_is_reported(was: str | None) -> None:
    now = "disabled" if was else "enabled"
    before, after = ({**VOLUME, "replication_status": status} for status in (was, now))
    (difference,) = differences(before, after, applied=True)
    assert (difference.name, difference.was, difference.now) == ("replication_status", was, now)
    assert difference.why == "it comes with the volume type and the storage"


def test_a_property_missing_before_is_not_reported() -> None:
    assert differences(VOLUME, VOLUME | {"user_id": "u"}, applied=True) == []


def test_later_attachments_are_reported() -> None:
    (difference,) = differences(VOLUME, VOLUME | {"attachments": [{"id": "a"}]}, applied=True)
    assert (difference.name, difference.was) == ("attachments", [])


def test_a_property_that_cinder_refuses_is_reported_with_its_reason() -> None:
    refused = {"metadata": "no", "name": "never"}
    found = differences(VOLUME, VOLUME | {"name": "b"}, applied=True, refused=refused)
    assert {each.name: each.why for each in found} == refused


def test_a_refused_property_does_not_stop_the_others() -> None:
    cloud = FakeClient()
    volume = cloud.put(name="a", volume_image_metadata={})

    def refusing(argument: str, value: str) -> Callable[..., bool]:
        return lambda *args, **fields: value in (fields if argument == "field" else args[1])

    cloud.fail("volumes.update", when=refusing("field", "name"), message="policy")
    cloud.fail("volumes.set_metadata", message="quota")
    cloud.fail("volumes.set_image_metadata", when=refusing("key", "bad key!"), message="pattern")
    images = {"good": "1", "bad key!": "2", "fine": "3"}
    wanted = Properties("new", "described", {"a": "b"}, False, images, False)
    refused = wanted.apply(cloud.cinder(), volume)
    about = f"metadata of volume {volume}: pattern"
    assert refused == {
        "name": f"Updating volume {volume}: policy (HTTP 500)",
        "metadata": f"'a': Setting metadata of volume {volume}: quota (HTTP 500)",
        "image_metadata": f"'bad key!': Setting image {about} (HTTP 500)",
    }
    assert cloud.volumes[volume]["description"] == "described"
    assert cloud.volumes[volume]["volume_image_metadata"] == {"good": "1", "fine": "3"}


def test_a_stop_does_not_count_as_a_refusal() -> None:
    cloud = FakeClient()
    volume = cloud.put(name="a")
    cloud.fail("volumes.set_bootable", error=StoppedError("stop"))
    with pytest.raises(StoppedError):
        Properties("a", "", {}, True, {}, False).apply(cloud.cinder(), volume)


def test_each_difference_has_its_reason() -> None:
    now = VOLUME | {"name": "b", "volume_type": "slow"}
    found = {each.name: each for each in differences(VOLUME, now, applied=False)}
    assert found.keys() == {"name", "volume_type"}
    assert found["name"].why == "--meta-override was not given"
    assert (found["volume_type"].was, found["volume_type"].now) == ("fast", "slow")
    (name,) = [d for d in differences(VOLUME, now, applied=True) if d.name == "name"]
    assert name.why == "it was overridden"
