"""The remarks about a volume, one line each."""

from __future__ import annotations

from dataclasses import replace

from tests.support.reports import (
    step,
)
from volflow.report.remarks import counted, remarks
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
        "'volflow leftover clean' removes the leftovers, or says what to decide first.",
    ]
    late = VolumeResult("v", "", Outcome.PARTIAL, error="No answer.", unread=("/a",))
    assert remarks(late) == ["is done, but: No answer.", "could not be read: /a"]
    differs = {"name": "metadata", "was": {"a": "é"}, "now": None, "why": "refused"}
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE, differences=(differs,))) == [
        'differs: metadata was {"a": "é"} and is null: refused'
    ]
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE)) == []


def test_of_many_unread_files_only_the_first_are_named() -> None:
    unread = tuple(f"/{number}" for number in range(20_000))
    volume = VolumeResult("v", "", Outcome.PARTIAL, backup_id="0123456789abc", unread=unread)
    lines = remarks(volume)
    assert len(lines) == 21
    assert lines[0] == "could not be read: /0"
    assert lines[-1] == "and 19,980 more; 'volflow backup show 01234567 -f json' lists all"
    assert len(remarks(replace(volume, unread=unread[:20]))) == 20


def test_existing_files_that_stay_are_counted() -> None:
    volume = VolumeResult("v", "", Outcome.COMPLETE, kept=1)
    assert remarks(volume) == ["kept 1 existing file instead of the backup's"]


def test_a_directory_that_could_not_be_read_is_told_as_one() -> None:
    lines = remarks(
        VolumeResult("v", "", Outcome.PARTIAL, unread=("/", "/a/dir/", "/file", "/" + "x" * 4000))
    )
    assert lines[:3] == [
        "could not be read: / (a directory, with everything in it)",
        "could not be read: /a/dir (a directory, with everything in it)",
        "could not be read: /file",
    ]
    assert len(lines[3]) < 400
    assert counted(["/a/", "/b"]) == "1 directory with everything in it and 1 file"
    assert counted(["/a/", "/b/"]) == "2 directories with everything in them"
    assert counted(["/a", "/b"]) == "2 files"
