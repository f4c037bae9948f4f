"""The outcome of a run, and how a program reads it back."""

from __future__ import annotations

import json

import pytest

from volflow.results.outcome import Figures, Outcome, RunResult, VolumeResult, worst

COMPLETE, PARTIAL, FAILED = Outcome.COMPLETE, Outcome.PARTIAL, Outcome.FAILED


@pytest.mark.parametrize(
    ("outcomes", "whole"),
    [
        ([], COMPLETE),
        ([COMPLETE, COMPLETE], COMPLETE),
        ([COMPLETE, PARTIAL], PARTIAL),
        ([PARTIAL, FAILED, COMPLETE], FAILED),
    ],
)
def test_the_worst_outcome_counts(outcomes: list[Outcome], whole: Outcome) -> None:
    assert worst(outcomes) is whole


def test_each_outcome_has_its_exit_status() -> None:
    assert {str(each): each.exit_status for each in Outcome} == {
        "complete": 0,
        "partial": 3,
        "failed": 1,
        "left out": 0,
        "unfinished": 3,
    }


def test_the_numbers_of_files_add_up() -> None:
    figures = Figures(files_new=1, files_changed=2, files_unmodified=4)
    assert (figures.files_read, figures.files_total) == (3, 7)


def test_a_result_survives_json() -> None:
    result = VolumeResult(
        volume_id="v",
        name="schön",
        outcome=PARTIAL,
        backup_id="b",
        figures=Figures(1, 2, 3, 4, 5),
        seconds=1.5,
        unread=("a\nb", "c"),
        leftovers=("snapshot s: why",),
        error="because",
    )
    assert VolumeResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


def test_a_run_tells_all_of_its_volumes() -> None:
    run = RunResult("r", "backup", (VolumeResult("v", "", COMPLETE), VolumeResult("w", "", FAILED)))
    told = json.loads(json.dumps(run.to_dict()))
    assert told["outcome"] == "failed"
    assert [volume["volume_id"] for volume in told["volumes"]] == ["v", "w"]
