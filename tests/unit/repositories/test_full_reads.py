"""Full reads come at regular intervals, and not for all volumes in the same night."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from volflow.repositories.full_reads import is_due

WEEK, DAY = timedelta(days=7), timedelta(days=1)
START = datetime(2026, 11, 2, 22, tzinfo=UTC)


def full_nights(volume_id: str, nights: int, every: timedelta = WEEK) -> list[int]:
    """The nights in which everything is read; the first backup is before the first night."""
    last, found = START, []
    for night in range(1, nights + 1):
        if is_due(volume_id, START + night * DAY, last, every):
            last = START + night * DAY
            found.append(night)
    return found


@pytest.mark.parametrize("number", range(20))
def test_a_volume_is_read_completely_once_in_each_period(number: int) -> None:
    nights = full_nights(f"volume {number}", 70)

    assert len(nights) == 10
    assert nights[0] <= 7
    assert {later - earlier for earlier, later in pairwise(nights)} == {7}


def test_full_reads_are_spread_over_the_nights() -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(700)]

    found = Counter(night for one in ids for night in full_nights(one, 7))

    assert sorted(found) == list(range(1, 8))
    assert max(found.values()) < 2 * 100


def test_a_period_of_zero_means_never() -> None:
    assert full_nights("volume", 1000, timedelta()) == []


def test_a_full_read_of_the_future_does_not_prevent_the_next() -> None:
    assert is_due("volume", START, START + 100 * WEEK, WEEK)


def test_a_missed_night_is_made_up_for_by_the_next_backup() -> None:
    (first,) = full_nights("volume", 7)

    assert is_due("volume", START + (first + 3) * DAY, START, WEEK)
