"""The timeline of a run: when steps ran, their total times, and volumes in parallel."""

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
# Seconds between two steps of one volume. The engine takes less; a longer pause means that the run
# was resumed.
_PAUSE = 1.0


@dataclass(frozen=True)
class Row:
    """The steps of one volume.

    :ivar steps: in order of time; a running step lasts until the time of the report
    :ivar result: its result so far
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
        """The steps of this volume alone, without waiting."""
        return [s for s in self.steps if not s.shared and kind_of(s.name) is not Kind.WAIT]

    @property
    def worked(self) -> float:
        """Seconds of its own steps."""
        return sum(step.seconds for step in self.own)


@dataclass
class Spent:
    """The total time that all volumes spent in one step.

    :ivar longest: the longest time of one volume, and the volume's name
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
    """The timeline of all volumes of a run.

    :ivar rows: the volumes, in the order in which they began
    :ivar began: seconds since the epoch, like all times here
    """

    rows: Sequence[Row]
    began: float
    ended: float

    @classmethod
    def of(cls, items: Iterable[Item], *, driven: bool, began: float, now: float) -> Timeline:
        """
        :param driven: whether a process works on the run
        :param began: when the run began
        :param now: when it ended, or the time of the report
        """
        rows = [_row(item, driven, now) for item in items]
        rows.sort(key=lambda row: (row.began is None, row.began or 0.0, row.item.position))
        # If the run was resumed on another host, the clocks may differ a little.
        first = min([began, *(row.began for row in rows if row.began is not None)])
        last = max([now, *(row.ended for row in rows if row.ended is not None)])
        return cls(rows, first, max(last, first + 0.001))

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def spent(self) -> list[Spent]:
        """The time in each step, the longest first. Waiting for other volumes does not count."""
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
        """The number of volumes in progress, each with the time from which it applies.

        The first number is 0, at the beginning of the run.

        :param kind: count only volumes in a step of this kind
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
    """The times during which a volume was in progress, as start and end."""
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
