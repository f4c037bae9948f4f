"""What the state database keeps of a run, as its result."""

from __future__ import annotations

from collections.abc import Sequence

from persistence import Item, Run
from volflow.results.outcome import LeftOut, Outcome, RunResult, StepTime, VolumeResult
from volflow.results.request import request_of

#: What was under way in a process that is no more.
INTERRUPTED = "interrupted"


def state(of: Run | Item, *, driven: bool) -> str:
    """The state of a run or of a volume of it, in the word that people know it by.

    :param driven: whether a process works on the run
    """
    word = of.state.lower()
    return INTERRUPTED if word == "running" and not driven else word


def run_result(run: Run, items: Sequence[Item]) -> RunResult:
    """The result of a run that has ended."""
    request = request_of(run)
    return RunResult(
        run.id,
        run.kind,
        tuple(volume_result(item) for item in items),
        request.left_out,
        dict(request.consistent),
        request.notes,
    )


def volume_result(item: Item) -> VolumeResult:
    """What came of one volume; one that has not ended counts as failed."""
    if item.state.final:
        return VolumeResult.from_dict(item.result)
    return VolumeResult(item.key, item.name, Outcome.FAILED, steps=steps(item))


def steps(item: Item) -> tuple[StepTime, ...]:
    """The steps of a volume so far; the last of them may be under way."""
    return tuple(StepTime(**step) for step in item.result.get("steps", ()))


def left_out(run: Run) -> tuple[LeftOut, ...]:
    """What the run does not cover though it was selected, and why."""
    return request_of(run).left_out
