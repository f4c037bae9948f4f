"""Which properties can be overridden by a restore, and what stays as it is is told."""

from __future__ import annotations

from typing import Any, cast

import pytest

from volflow.cloud.properties import NOT_VISIBLE, Properties, check_overrides, differences
from volflow.errors import CloudError, StoppedError, UsageError

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
    for qos in (("1", None), (None, "2"), ("1", "2")):
        (other,) = differences(VOLUME, VOLUME, qos=qos, applied=True)
        assert (other.name, other.was, other.now) == ("qos_specs_id", *qos)


def test_quality_of_service_that_this_user_may_not_see() -> None:
    for qos in ((NOT_VISIBLE, NOT_VISIBLE), ("1", NOT_VISIBLE), (NOT_VISIBLE, None)):
        (told,) = differences(VOLUME, VOLUME, qos=qos, applied=True)
        assert (told.was, told.now, told.why) == (*qos, "administrators alone see it")


@pytest.mark.parametrize("was", [None, "enabled"])
def test_replication(was: str | None) -> None:
    now = "disabled" if was else "enabled"
    before, after = ({**VOLUME, "replication_status": status} for status in (was, now))
    (told,) = differences(before, after, applied=True)
    assert (told.name, told.was, told.now) == ("replication_status", was, now)
    assert told.why == "it comes by the volume type and the storage"


def test_what_was_not_shown_is_not_known() -> None:
    assert differences(VOLUME, VOLUME | {"user_id": "u"}, applied=True) == []


def test_attachments_that_came_later() -> None:
    (told,) = differences(VOLUME, VOLUME | {"attachments": [{"id": "a"}]}, applied=True)
    assert (told.name, told.was) == ("attachments", [])


def test_what_cinder_does_not_take_is_told() -> None:
    refused = {"metadata": "no", "name": "never"}
    told = differences(VOLUME, VOLUME | {"name": "b"}, applied=True, refused=refused)
    assert {each.name: each.why for each in told} == refused


class Refusing:
    """Block storage that does not take everything."""

    def __init__(self) -> None:
        self.shown = {**VOLUME, "volume_image_metadata": {}}

    def volume(self, _: str) -> dict[str, Any]:
        return self.shown

    def update_volume(self, _: str, **new: Any) -> None:
        if "name" in new:
            raise CloudError("policy")
        self.shown |= new

    def set_metadata(self, _: str, pairs: dict[str, str]) -> None:
        raise CloudError("quota")

    def set_bootable(self, *_: Any) -> None:
        raise StoppedError("stop")

    def set_image_metadata(self, _: str, pairs: dict[str, str]) -> None:
        if "bad key!" in pairs:
            raise CloudError("pattern")
        self.shown["volume_image_metadata"] |= pairs


def test_one_property_that_is_refused_stops_no_other() -> None:
    cinder = Refusing()
    images = {"good": "1", "bad key!": "2", "fine": "3"}
    wanted = Properties("new", "described", {"a": "b"}, False, images, False)
    refused = wanted.apply(cast(Any, cinder), "v")
    assert refused == {
        "name": "policy",
        "metadata": "'a': quota",
        "image_metadata": "'bad key!': pattern",
    }
    assert cinder.shown["description"] == "described"
    assert cinder.shown["volume_image_metadata"] == {"good": "1", "fine": "3"}


def test_a_stop_is_no_refusal() -> None:
    wanted = Properties("a", "", {}, True, {}, False)
    with pytest.raises(StoppedError):
        wanted.apply(cast(Any, Refusing()), "v")


def test_why_something_differs() -> None:
    now = VOLUME | {"name": "b", "volume_type": "slow"}
    told = {each.name: each for each in differences(VOLUME, now, applied=False)}
    assert told.keys() == {"name", "volume_type"}
    assert told["name"].why == "--meta-override was not given"
    assert (told["volume_type"].was, told["volume_type"].now) == ("fast", "slow")
    (name,) = [d for d in differences(VOLUME, now, applied=True) if d.name == "name"]
    assert name.why == "it was overridden"
