"""When what was done in a run: spans, sums, and how much went on side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from taskflow import states

from persistence import Item
from volflow.report.kinds import Kind, Look, kind_of, outcome_look
from volflow.results import stored
from volflow.results.outcome import StepTime, VolumeResult

_UNDER_WAY = (states.RUNNING, states.REVERTING)
_UNDONE = (states.REVERTING, states.REVERTED, states.REVERT_FAILURE)
# Between two steps the engine is at work, which takes less. A longer pause is that of a run that
# was resumed.
_PAUSE = 1.0


@dataclass(frozen=True)
class Row:
    """One volume's way through the run.

    :ivar steps: in the order of time; what is under way has lasted until the run is looked at
    :ivar result: what came of it, as far as it has come
    """

    item: Item
    look: Look
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
        return max((_end(step) for step in self.steps), default=None)

    @property
    def own(self) -> list[StepTime]:
        """The steps in which this volume was worked on, and no other."""
        return [s for s in self.steps if not s.shared and kind_of(s.name) is not Kind.WAIT]

    @property
    def worked(self) -> float:
        """Seconds of its own steps."""
        return sum(step.seconds for step in self.own)


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

    @classmethod
    def of(cls, items: Iterable[Item], *, driven: bool, began: float, now: float) -> Timeline:
        """
        :param driven: whether a process works on the run
        :param began: when the run began
        :param now: when it ended, or was looked at
        """
        rows = [_row(item, driven, now) for item in items]
        rows.sort(key=lambda row: (row.began is None, row.began or 0.0, row.item.position))
        # The clock of a run that was resumed on another host may be a little off.
        first = min([began, *(row.began for row in rows if row.began is not None)])
        last = max([now, *(row.ended for row in rows if row.ended is not None)])
        return cls(rows, first, max(last, first + 0.001))

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def spent(self) -> list[Spent]:
        """The time in each step, the most first. Waiting for others is none."""
        found: dict[str, Spent] = {}
        shared: set[tuple[str, float]] = set()
        for row in self.rows:
            for step in row.steps:
                once = (step.name, step.started)
                if kind_of(step.name) is Kind.WAIT or once in shared:
                    continue
                if step.shared:
                    shared.add(once)
                name = f"undo {step.name}" if step.state in _UNDONE else step.name
                found.setdefault(name, Spent(name)).add(step.seconds, row.name)
        return sorted(found.values(), key=lambda one: -one.seconds)

    def at_once(self, kind: Kind | None = None) -> list[tuple[float, int]]:
        """How many volumes were worked on, from when on; the first is 0 at the beginning.

        :param kind: count those that were in a step of this kind
        """
        changes: dict[float, int] = {self.began: 0}
        for row in self.rows:
            for began, ended in _busy(row.own, kind):
                changes[began] = changes.get(began, 0) + 1
                changes[ended] = changes.get(ended, 0) - 1
        count, found = 0, []
        for when in sorted(changes):
            count += changes[when]
            found.append((when, count))
        return found

    def most_at_once(self) -> int:
        return max(count for _, count in self.at_once())


def _row(item: Item, driven: bool, now: float) -> Row:
    steps = []
    for step in stored.steps(item):
        if step.state not in _UNDER_WAY:
            steps.append(step)
        elif not item.state.final:
            steps.append(replace(step, seconds=max(0.0, now - step.started)))
    steps.sort(key=lambda step: step.started)
    return Row(item, outcome_look(item, driven=driven), steps, stored.volume_result(item))


def _end(step: StepTime) -> float:
    return step.started + step.seconds


def _busy(steps: Iterable[StepTime], kind: Kind | None) -> Iterable[tuple[float, float]]:
    """From when to when a volume was worked on."""
    spans = sorted(
        (step.started, _end(step)) for step in steps if kind in (None, kind_of(step.name))
    )
    merged: list[tuple[float, float]] = []
    for began, ended in spans:
        if merged and began - merged[-1][1] < _PAUSE:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ended))
        else:
            merged.append((began, ended))
    return merged
