"""The timeline of a run: when each step ran, and what ran in parallel."""

from __future__ import annotations

from persistence import ItemState
from tests.support.reports import (
    ZERO,
    step,
    timeline,
    volume,
)
from volflow.report.kinds import Kind


def test_how_many_went_on_side_by_side() -> None:
    found = timeline(
        volume("a", step("snapshot", 0, 4), step("copy", 4, 10)),
        volume("b", step("snapshot", 2, 5), step("copy", 6, 12)),
        volume("c", step("copy", 30, 40)),
    )
    moments = {when - ZERO: count for when, count in found.at_once()}
    # Between the snapshot and the copy of b, nothing works on b for a second.
    assert moments == {0: 1, 2: 2, 5: 1, 6: 2, 10: 1, 12: 0, 30: 1, 40: 0}
    assert found.most_at_once() == 2
    copies = {when - ZERO: count for when, count in found.at_once(Kind.COPY)}
    assert copies == {0: 0, 4: 1, 6: 2, 10: 1, 12: 0, 30: 1, 40: 0}


def test_the_moment_between_two_steps_is_no_pause() -> None:
    found = timeline(volume("a", step("snapshot", 0, 4), step("copy", 4.2, 10)))
    assert [(when - ZERO, count) for when, count in found.at_once()] == [(0, 1), (10, 0)]


def test_what_is_shared_counts_once_and_waiting_not_at_all() -> None:
    together = step("group snapshot", 0, 3, shared=True)
    found = timeline(
        volume("a", together, step("wait for others", 3, 3.1), step("copy", 3.1, 10)),
        volume("b", together, step("wait for others", 3, 50), step("copy", 50, 60)),
    )
    assert found.most_at_once() == 1
    spent = {one.name: (round(one.seconds, 1), one.count) for one in found.spent()}
    assert spent == {"copy": (16.9, 2), "group snapshot": (3.0, 1)}
    assert [round(row.worked, 1) for row in found.rows] == [6.9, 10.0]


def test_where_the_time_went() -> None:
    found = timeline(
        volume("a", step("snapshot", 0, 1), step("copy", 1, 9, "FAILURE")),
        volume("b", step("snapshot", 0, 5), step("snapshot", 5, 8, "REVERTED")),
    )
    told = [(one.name, one.seconds, one.count, one.longest) for one in found.spent()]
    assert told == [
        ("copy", 8.0, 1, (8.0, "a")),
        ("snapshot", 6.0, 2, (5.0, "b")),
        ("undo snapshot", 3.0, 1, (3.0, "b")),
    ]


def test_a_step_under_way_lasts_until_now() -> None:
    under_way = step("copy", 10, 10, "RUNNING")
    found = timeline(volume("a", under_way, state=ItemState.RUNNING), seconds=25)
    assert found.rows[0].ended == ZERO + 25
    # If the volume has ended, the step is of a killed process, and its end is unknown.
    assert timeline(volume("a", under_way)).rows[0].steps == []


def test_a_clock_that_is_off() -> None:
    """A run that was resumed on another host can have steps that are older than the run."""
    found = timeline(volume("a", step("copy", -5, 120)), seconds=100)
    assert (found.began, found.ended) == (ZERO - 5, ZERO + 120)


def test_nothing_has_begun() -> None:
    found = timeline(volume("a", state=ItemState.PENDING), seconds=0)
    assert (found.most_at_once(), found.spent()) == (0, [])
    assert found.seconds > 0
