"""Times as they are shown to people and to programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from volflow import times

WHEN = datetime(2026, 2, 28, 22, 0, 7, 654_321, tzinfo=UTC)


@pytest.fixture(params=["Europe/Berlin", "America/St_Johns", "UTC"])
def somewhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def test_people_see_local_time_with_its_offset(somewhere: str) -> None:
    shown = {
        "Europe/Berlin": "2026-02-28T23:00:07+01:00",
        "America/St_Johns": "2026-02-28T18:30:07-03:30",
        "UTC": "2026-02-28T22:00:07+00:00",
    }
    assert times.local(WHEN) == shown[somewhere]
    assert times.local(WHEN.timestamp()) == shown[somewhere]


def test_programs_see_utc_with_a_z(somewhere: str) -> None:
    assert times.utc(WHEN) == "2026-02-28T22:00:07.654321Z"
    assert times.utc(WHEN.replace(microsecond=0).astimezone()) == "2026-02-28T22:00:07Z"


def test_what_is_shown_includes_what_it_was_made_from(somewhere: str) -> None:
    shown = times.local(WHEN)
    without_offset = shown[:19]
    for text in (shown, without_offset, without_offset.replace("T", " "), times.utc(WHEN)):
        assert WHEN <= times.at(text) < WHEN.replace(second=8, microsecond=0)


def test_a_time_without_a_local_form_is_shown_as_it_is() -> None:
    last = datetime.max.replace(tzinfo=UTC)
    assert times.local(last).startswith("9999-12-31T23:59:59")


def test_what_is_not_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="yesterday"):
        times.at("yesterday")
