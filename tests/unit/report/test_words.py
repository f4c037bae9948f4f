"""Durations, sizes and counts in words."""

from __future__ import annotations

import pytest

from volflow.report import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0042, "4 ms"),
        (0.5, "0.5 s"),
        (59.96, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (90, "1 min 30 s"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_duration_is_short_and_exact_enough(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_a_noun_is_in_the_plural_unless_there_is_one() -> None:
    assert [words.plural(count, "volume") for count in (0, 1, 1200)] == [
        "0 volumes",
        "1 volume",
        "1,200 volumes",
    ]


def test_a_binary_size_is_never_rounded_to_nothing() -> None:
    assert [words.binary(size) for size in (0, 300_000, 31 * 2**20, 3 * 2**29, 68 * 2**30)] == [
        "0 MiB",
        "0.29 MiB",
        "31 MiB",
        "1.5 GiB",
        "68 GiB",
    ]
