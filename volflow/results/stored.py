"""Reading results of runs and volumes from the state database."""

from __future__ import annotations

from collections.abc import Sequence

from persistence import Item, Run
from volflow.results.outcome import LeftOut, Outcome, RunResult, StepTime, VolumeResult
from volflow.results.request import request_of

#: The state of a run that a person stopped, and that no process drives.
HELD = "held"
#: The state of a run that has not ended and that no process drives.
INTERRUPTED = "interrupted"


def state(of: Run | Item, *, driven: bool) -> str:
    """The state of a run or of one of its volumes, as users see it.

    :param driven: whether a process works on the run
    """
    if isinstance(of, Run) and of.held_at and not of.state.final and not driven:
        return HELD
    word = of.state.lower().replace("_", " ")
    return INTERRUPTED if word == "running" and not driven else word


def run_result(run: Run, items: Sequence[Item]) -> RunResult:
    """The result of a run that has ended."""
    request = request_of(run)
    results = [volume_result(item) for item in items]
    deleted = [
        LeftOut(one.volume_id, one.name, one.error or "", False)
        for one in results
        if one.outcome is Outcome.LEFT_OUT
    ]
    return RunResult(
        run.id,
        run.kind,
        tuple(one for one in results if one.outcome is not Outcome.LEFT_OUT),
        (*request.left_out, *deleted),
        dict(request.consistent),
        request.notes,
    )


def volume_result(item: Item) -> VolumeResult:
    """The result of a volume; a volume that has not ended counts as failed."""
    if item.state.final:
        return VolumeResult.from_dict(item.result)
    return VolumeResult(item.key, item.name, Outcome.FAILED, steps=steps(item))


def steps(item: Item) -> tuple[StepTime, ...]:
    """The steps of a volume so far; the last one may be running."""
    return tuple(StepTime(**step) for step in item.result.get("steps", ()))


def left_out(run: Run) -> tuple[LeftOut, ...]:
    """The selected volumes that the run does not cover, and why."""
    return request_of(run).left_out
