"""The chart of a run's timeline: a row for each volume, and the number of volumes in parallel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from taskflow import states

from volflow.report import words
from volflow.report.kinds import Kind, kind_of
from volflow.report.markup import Markup, element
from volflow.report.timeline import Row, Timeline
from volflow.results.outcome import StepTime

# With more volumes than this, the rows are lower.
_DENSE = 40
# Round intervals for the axis, in seconds.
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
# A narrow page shows only every third mark.
_MAJOR = 3

_NAMES = {
    states.RUNNING: "{} (under way)",
    states.FAILURE: "{} (failed)",
    states.REVERTING: "undo {} (under way)",
    states.REVERTED: "undo {}",
    states.REVERT_FAILURE: "undo {} (failed)",
}


def chart(timeline: Timeline) -> Markup:
    """The section of the page."""
    tick = _tick(timeline.seconds)
    dense = len(timeline.rows) > _DENSE
    axis = _axis(timeline, tick)
    return element(
        "section",
        element("h2", "Timeline"),
        element("p", "Each row is a volume. Point at a bar to see its step and times."),
        _legend(timeline),
        element(
            "div",
            _at_once(timeline) if len(timeline.rows) > 1 else None,
            axis,
            [_row(row, timeline) for row in timeline.rows],
            axis if dense else None,
            class_="chart dense" if dense else "chart",
            style=f"--tick:{percent(tick / timeline.seconds)}",
        ),
    )


def percent(share: float) -> str:
    """A share as a percentage for style sheets."""
    return f"{share * 100:.3f}%"


def swatch(key: str) -> Markup:
    """A small square in a colour."""
    return element("span", class_=f"swatch {key}")


def _tick(seconds: float) -> float:
    """The distance between two marks on the axis, for about ten marks."""
    fitting = [tick for tick in _TICKS if seconds / tick <= 11]
    return fitting[0] if fitting else math.ceil(seconds / 10 / 3600) * 3600


def _axis(timeline: Timeline, tick: float) -> Markup:
    seconds = timeline.seconds
    unit, mark = next((unit, mark) for limit, unit, mark in _FORMS if seconds < limit)
    # A last mark near the end would be drawn over the edge.
    count = math.floor(seconds / tick * 0.985)
    marks = [
        element(
            "span",
            mark(number * tick),
            class_=None if number % _MAJOR == 0 else "minor",
            style=f"left:{percent(number * tick / seconds)}",
        )
        for number in range(count + 1)
    ]
    return element(
        "div",
        element("span", unit, class_="unit"),
        element("div", marks, class_="axis"),
        element("span"),
        class_="row",
        aria_hidden="true",
    )


def _clock(seconds: float, unit: int) -> str:
    whole, part = divmod(round(seconds), unit * 60)
    return f"{whole}:{part // unit:02d}"


# The unit and the format of the marks on the axis, for runs shorter than this many seconds.
_FORMS: Sequence[tuple[float, str, Callable[[float], str]]] = (
    (60, "seconds", lambda seconds: f"{seconds:g}"),
    (3600, "minutes", lambda seconds: _clock(seconds, 1)),
    (math.inf, "hours", lambda seconds: _clock(seconds, 60)),
)


def _legend(timeline: Timeline) -> Markup:
    steps = [step for row in timeline.rows for step in row.steps]
    kinds = {kind_of(step.name) for step in steps}
    entries = [(f"k-{kind}", kind.label) for kind in Kind if kind in kinds]
    if any(_is_bad(step) for step in steps):
        entries.append(("bad", "failed"))
    if any(_is_undone(step) for step in steps):
        entries.append(("k-clean undo", "undone"))
    return element(
        "ul", [element("li", swatch(key), title) for key, title in entries], class_="legend"
    )


# A volume


def _row(row: Row, timeline: Timeline) -> Markup:
    steps = ", ".join(f"{_named(step)} {words.duration(step.seconds)}" for step in row.steps)
    began, ended = row.began, row.ended
    took = words.duration(ended - began) if began is not None and ended is not None else "-"
    return element(
        "div",
        element("span", element("bdi", row.name), title=f"{row.name} ({row.item.key})"),
        element(
            "div",
            [_bar(step, timeline) for step in row.steps],
            class_="track",
            role="img",
            aria_label=f"{row.name}: {row.look.title}; {steps or 'nothing was done'}",
        ),
        element(
            "span",
            element("span", row.look.mark, class_=f"state s-{row.look.key}", title=row.look.title),
            " ",
            took,
        ),
        class_="row",
    )


def _bar(step: StepTime, timeline: Timeline) -> Markup:
    left = (step.started - timeline.began) / timeline.seconds
    until = step.started + step.seconds
    return element(
        "span",
        class_=f"bar {_colour(step)}",
        style=f"left:{percent(left)};width:{percent(step.seconds / timeline.seconds)}",
        title=f"{_named(step)}: {words.duration(step.seconds)}\n"
        f"{words.clock(step.started)} \u2013 {words.clock(until)}",
    )


def _named(step: StepTime) -> str:
    """The name of a step, and its state unless it succeeded."""
    return _NAMES.get(step.state, "{}").format(step.name)


def _colour(step: StepTime) -> str:
    if _is_bad(step):
        return "bad"
    colour = f"k-{kind_of(step.name)}"
    if _is_undone(step):
        return f"{colour} undo"
    return f"{colour} open" if step.state == states.RUNNING else colour


def _is_bad(step: StepTime) -> bool:
    return step.state in (states.FAILURE, states.REVERT_FAILURE)


def _is_undone(step: StepTime) -> bool:
    return step.state in (states.REVERTED, states.REVERTING)


# All volumes


def _at_once(timeline: Timeline) -> Markup:
    """The number of volumes in progress over time, as areas."""
    most = timeline.most_at_once()
    height = max(1, most)
    areas = [
        element("path", d=_area(timeline, timeline.at_once(kind), height), class_=name)
        for kind, name in ((None, "all"), (Kind.COPY, "copying"))
    ]
    return element(
        "div",
        element("span", "In parallel", element("small", "dark: copying"), class_="head"),
        element(
            "div",
            element(
                "svg",
                areas,
                viewBox=f"0 0 1000 {height}",
                preserveAspectRatio="none",
                role="img",
                aria_label=f"At most {most} volumes were in progress in parallel.",
            ),
            class_="track many",
        ),
        element("span", f"at most {most}"),
        class_="row",
    )


def _area(timeline: Timeline, counts: Sequence[tuple[float, int]], height: int) -> str:
    parts = [f"M0 {height}"]
    for when, count in counts:
        x = (when - timeline.began) / timeline.seconds * 1000
        parts.append(f"H{x:.2f}V{height - count}")
    return "".join([*parts, f"H1000V{height}Z"])
