"""Filters repeat, and one that matches nothing is reported."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_cinder import FakeClient
from volflow.errors import UsageError
from volflow.plans.selection import Selected, Selection


def find(**filters: Any) -> Selected:
    cloud = FakeClient()
    for name in ("web-1", "web-2", "db"):
        cloud.put(name=name, volume_type="fast" if name == "db" else "slow", metadata={"n": name})
    return Selection(everything=True, **filters).find(cloud.cinder())


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"name": "db"}, ["db"]),
        ({"name": ["web-1", "d?"]}, ["db", "web-1"]),
        ({"volume_type": ["fast", "slow"], "name": "*-2"}, ["web-2"]),
        ({"metadata": {"n": ["db", "web-1"]}}, ["db", "web-1"]),
        ({"metadata": {"n": "db"}, "volume_type": "fast"}, ["db"]),
        ({"exclude": ("db", "web-1")}, ["web-2"]),
    ],
)
def test_a_volume_matches_one_value_of_each_filter(
    filters: dict[str, Any], expected: list[str]
) -> None:
    selected = find(**filters)
    assert sorted(volume["name"] for volume in selected.volumes) == expected
    assert selected.notes == []


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"name": ["db", "wbe*"]}, "No volume matches --name 'wbe*'."),
        ({"volume_type": ["fast", "fats"]}, "No volume matches --type 'fats'."),
        ({"metadata": {"n": ["db", "x"], "m": "y"}}, "--metadata 'n=x', --metadata 'm=y'."),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error_even_if_others_match(
    filters: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(**filters)
    assert says in str(caught.value)


def test_an_exclude_that_matches_nothing_is_a_warning() -> None:
    selected = find(exclude=("db", "wbe-1"))
    assert len(selected.volumes) == 2
    assert selected.notes == ["--exclude 'wbe-1' matches no volume; is it misspelled?"]


def test_filters_that_match_nothing_together_name_the_volumes_that_were_left_out() -> None:
    with pytest.raises(Exception, match="There is no volume to back up") as caught:
        find(name="db", volume_type="slow")
    assert "db: its type is 'fast'" in str(caught.value)
