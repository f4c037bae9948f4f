"""When what was done in a run: spans, sums, and how much went on side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from taskflow import states

from persistence import Item
from volflow import record
from volflow.result import StepTime, VolumeResult

_UNDER_WAY = (states.RUNNING, states.REVERTING)


@dataclass(frozen=True)
class Row:
    """One volume's way through the run.

    :ivar steps: in the order of time; none of them is under way
    :ivar result: what came of it, as far as it has come
    """

    item: Item
    steps: Sequence[StepTime]
    result: VolumeResult

    @property
    def name(self) -> str:
        return self.item.name or self.item.key

    @property
    def began(self) -> float | None:
        return min((step.started for step in self.steps), default=None)

    @property
    def ended(self) -> float | None:
        return max((step.started + step.seconds for step in self.steps), default=None)

    @property
    def worked(self) -> float:
        """Seconds in which a step of it was at work, but for waiting for others."""
        return sum(step.seconds for step in self.steps if "wait" not in step.name)


@dataclass
class Spent:
    """The time that all volumes have spent in one step.

    :ivar longest: the longest of them, and its volume
    """

    name: str
    seconds: float = 0.0
    count: int = 0
    longest: tuple[float, str] = (0.0, "")

    def add(self, seconds: float, volume: str) -> None:
        self.seconds += seconds
        self.count += 1
        self.longest = max(self.longest, (seconds, volume))


@dataclass(frozen=True)
class Timeline:
    """All volumes of a run in time.

    :ivar rows: those that have begun first come first
    :ivar began: seconds since the epoch, as all times here
    """

    rows: Sequence[Row]
    began: float
    ended: float
    spent: Sequence[Spent] = field(default_factory=list)

    @classmethod
    def of(cls, items: Iterable[Item], began: float, now: float) -> Timeline:
        """
        :param began: when the run began
        :param now: when it ended, or was looked at
        """
        rows = [_row(item, now) for item in items]
        rows.sort(key=lambda row: (row.began is None, row.began or 0.0, row.item.position))
        spent: dict[str, Spent] = {}
        for row in rows:
            for step in row.steps:
                undone = step.state in (states.REVERTED, states.REVERT_FAILURE)
                name = f"undo {step.name}" if undone else step.name
                spent.setdefault(name, Spent(name)).add(step.seconds, row.name)
        # The clock of a run that was resumed on another host may be a little off.
        first = min([began, *(row.began for row in rows if row.began is not None)])
        last = max([now, *(row.ended for row in rows if row.ended is not None)])
        return cls(rows, first, max(last, first + 0.001), list(spent.values()))

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def at_once(self, only: str | None = None) -> list[tuple[float, int]]:
        """How many volumes were worked on, from when on; the first is 0 at the beginning.

        :param only: count those that were in this step
        """
        changes: dict[float, int] = {self.began: 0}
        for row in self.rows:
            for began, ended in _busy(row.steps, only):
                changes[began] = changes.get(began, 0) + 1
                changes[ended] = changes.get(ended, 0) - 1
        count, found = 0, []
        for when in sorted(changes):
            count += changes[when]
            found.append((when, count))
        return found

    def most_at_once(self) -> int:
        return max(count for _, count in self.at_once())


def _row(item: Item, now: float) -> Row:
    steps = []
    for step in record.steps(item):
        if step.state in _UNDER_WAY:
            if item.state.final:
                continue
            seconds = max(0.0, now - step.started)
            step = StepTime(step.name, step.state, step.started, seconds)
        steps.append(step)
    steps.sort(key=lambda step: step.started)
    return Row(item, steps, record.volume_result(item))


def _busy(steps: Sequence[StepTime], only: str | None) -> Iterable[tuple[float, float]]:
    """From when to when a volume was worked on. Pauses are those of a run that was resumed."""
    spans = [
        (step.started, step.started + step.seconds)
        for step in steps
        if (only is None and "wait" not in step.name) or step.name == only
    ]
    merged: list[tuple[float, float]] = []
    for began, ended in sorted(spans):
        # Between two steps the engine is at work, which takes no second.
        if merged and began - merged[-1][1] < 1.0:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((began, ended))
    return merged
