"""How columns show values to people and to programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from volflow.cli import columns


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.0, "59.0 s"), (61.4, "1 min 01 s"), (3723.0, "1 h 02 min")],
)
def test_people_read_a_duration_in_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    column = columns.Seconds(seconds)
    assert (column.human_readable(), column.machine_readable()) == (text, seconds)


def test_people_read_a_size_with_a_unit_and_programs_read_bytes() -> None:
    column = columns.Bytes(1_500_000)
    assert (column.human_readable(), column.machine_readable()) == ("1.5 MB", 1_500_000)


def test_people_read_the_beginning_of_an_id() -> None:
    column = columns.ShortId("0123456789")
    assert (column.human_readable(), column.machine_readable()) == ("01234567", "0123456789")
    assert columns.ShortId("").human_readable() == "-"


def test_people_read_local_time_and_programs_read_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert columns.Time(moment).machine_readable() == "2026-01-02T03:04:05Z"
    elsewhere = moment.astimezone(timezone(timedelta(hours=7)))
    assert columns.Time(elsewhere).human_readable() == columns.Time(moment).human_readable()
    nothing = columns.Time(None)
    assert (nothing.human_readable(), nothing.machine_readable()) == ("-", None)


def test_people_read_one_text_per_line_and_programs_read_a_list() -> None:
    column = columns.Lines(("a", "b"))
    assert (column.human_readable(), column.machine_readable()) == ("a\nb", ["a", "b"])


def test_people_need_not_see_all_nested_data() -> None:
    column = columns.Tree([{"a": 1, "raw": "a\n1"}], [{"a": 1}])
    assert column.human_readable() == "a: 1"
    assert column.machine_readable() == [{"a": 1, "raw": "a\n1"}]


def test_nested_data_is_shown_as_indented_lines() -> None:
    value = {"a": {"b": 1, "empty": {}}, "list": [{"c": None}, "text"], "d": ""}
    column = columns.Tree(value)
    assert column.machine_readable() == value
    assert column.human_readable().splitlines() == [
        "a:",
        "  b: 1",
        "  empty: -",
        "list:",
        "  c: -",
        "  text",
        "d: -",
    ]
