"""The remarks about a volume, one line each."""

from __future__ import annotations

from tests.support.reports import (
    step,
)
from volflow.report.remarks import remarks
from volflow.results.outcome import Outcome, VolumeResult


def test_remarks_name_everything_that_went_wrong() -> None:
    failed = VolumeResult(
        "v",
        "",
        Outcome.FAILED,
        error="No room.",
        steps=(step("snapshot", 0, 1), step("copy", 1, 2, "FAILURE")),
        leftovers=("snapshot s: busy",),
    )
    assert remarks(failed) == [
        "failed at 'copy': No room.",
        "left over: snapshot s: busy",
        "'volflow leftover clean' removes what is left over.",
    ]
    late = VolumeResult("v", "", Outcome.PARTIAL, error="No answer.", unread=("/a",))
    assert remarks(late) == ["is done, but: No answer.", "could not be read: /a"]
    differs = {"name": "metadata", "was": {"a": "é"}, "now": None, "why": "refused"}
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE, differences=(differs,))) == [
        'differs: metadata was {"a": "é"} and is null: refused'
    ]
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE)) == []
