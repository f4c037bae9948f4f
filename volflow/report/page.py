"""A run as one HTML page, whole in itself: no script, no font, nothing from elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version

from taskflow import states

from persistence import Item, Run
from volflow import record
from volflow.report import words
from volflow.report.kinds import Kind, Look, kind_of, outcome_look
from volflow.report.markup import Markup, element, join, trusted
from volflow.report.timeline import Row, Timeline
from volflow.result import Figures, StepTime

# More volumes than this are drawn in lower rows.
_DENSE = 40
# So many files of one volume are named on the page; the result as JSON names all.
_FILES = 50
# Lengths of time that one can count in, in seconds.
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)


def page(run: Run, items: Sequence[Item], now: datetime | None = None) -> str:
    """The page.

    :param now: the time that a run that has not ended is shown at; the present unless given
    """
    until = run.finished_at or now or datetime.now(UTC)
    timeline = Timeline.of(items, run.created_at.timestamp(), until.timestamp())
    title = f"{run.kind.capitalize()} of {words.plural(len(items), 'volume')}"
    body = join(
        [
            _header(run, title, until),
            element(
                "main",
                _tiles(run, timeline),
                _troubles(run, timeline),
                _chart(timeline),
                _spent(timeline),
                _volumes(run, timeline),
                _left_out(run),
            ),
            _footer(),
        ]
    )
    head = join(
        [
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", f"{title}: {run.state.lower()}"),
            element("style", trusted(_style())),
        ]
    )
    document = element("html", element("head", head), element("body", body), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def _style() -> str:
    return resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")


# A column's head, and the class of its cells where it has one.
_Head = str | tuple[str, str]


# What stands at the top


def _header(run: Run, title: str, until: datetime) -> Markup:
    ended = f"ended {words.moment(until)}"
    if not run.state.final:
        ended = f"not ended yet, as of {words.moment(until)}"
    facts = [
        f"began {words.moment(run.created_at)}",
        ended,
        f"on {run.host}, process {run.pid}",
        f"repository {run.request.get('repository', '-')}",
    ]
    return element(
        "header",
        element("div", "volflow ", element("span", f"run {run.id}", class_="id"), class_="eyebrow"),
        element("div", element("h1", title), _badge(outcome_look(run.state)), class_="title"),
        element("p", [element("span", fact) for fact in facts], class_="facts"),
    )


def _badge(look: Look) -> Markup:
    mark = element("span", look.mark, aria_hidden="true")
    return element("span", mark, look.title, class_=f"badge s-{look.key}")


def _state(look: Look) -> Markup:
    mark = element("span", look.mark, aria_hidden="true")
    return element("span", mark, " ", look.title, class_=f"state s-{look.key}")


def _tiles(run: Run, timeline: Timeline) -> Markup:
    rows = timeline.rows
    worked = sum(row.worked for row in rows)
    outcomes = Counter(str(row.item.state).lower() for row in rows)
    tiles = [
        _tile("Duration", words.duration(timeline.seconds), _per_volume(timeline)),
        _tile(
            "Volumes",
            f"{len(rows):,}",
            ", ".join(f"{count} {outcome_look(name).title}" for name, count in outcomes.items()),
        ),
        _tile(
            "Side by side",
            f"{worked / timeline.seconds:.1f}",
            f"on average; at most {timeline.most_at_once()}, "
            f"allowed {run.request.get('parallel', '-')}",
        ),
    ]
    total = _total(rows)
    if total.files_total:
        share = total.bytes_stored / total.bytes_total if total.bytes_total else 0.0
        tiles += [
            _tile(
                "Files", f"{total.files_total:,}", f"{total.files_read:,} new or changed, and read"
            ),
            _tile("Size", words.size(total.bytes_total), "of all files"),
            _tile("New data", words.size(total.bytes_stored), f"{share:.1%} of the size"),
        ]
    return element("dl", tiles, class_="tiles")


def _tile(name: str, value: str, more: str) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="value"),
        element("dd", more, class_="more"),
        class_="tile",
    )


def _per_volume(timeline: Timeline) -> str:
    begun = [row for row in timeline.rows if row.steps]
    if not begun:
        return "nothing was done yet"
    worked = sum(row.worked for row in begun)
    return f"on average {words.duration(worked / len(begun))} a volume"


def _total(rows: Sequence[Row]) -> Figures:
    figures = [row.result.figures for row in rows]
    return Figures(
        files_new=sum(one.files_new for one in figures),
        files_changed=sum(one.files_changed for one in figures),
        files_unmodified=sum(one.files_unmodified for one in figures),
        bytes_total=sum(one.bytes_total for one in figures),
        bytes_stored=sum(one.bytes_stored for one in figures),
    )


# What somebody has to look at


def _troubles(run: Run, timeline: Timeline) -> Markup | None:
    found = [_trouble(row) for row in timeline.rows if _has_trouble(row)]
    missed = [one for one in record.left_out(run) if one.wanted]
    found += [
        element(
            "div",
            element("strong", element("bdi", one.name or one.volume_id)),
            " ",
            _state(Look("partial", "\u25d0", "not covered")),
            element("p", one.reason),
            class_="trouble s-partial",
        )
        for one in missed
    ]
    if not found:
        return None
    return element("section", element("h2", "To look at"), found)


def _has_trouble(row: Row) -> bool:
    result = row.result
    return bool(row.item.error or result.unread or result.leftovers)


def _trouble(row: Row) -> Markup:
    look, result = outcome_look(row.item.state), row.result
    failed = next((step.name for step in row.steps if step.state == states.FAILURE), None)
    where = f" at \u201c{failed}\u201d" if failed else ""
    return element(
        "div",
        element("strong", element("bdi", row.name)),
        " ",
        _state(look),
        element("p", f"{row.item.error}{where and f' ({where.strip()})'}")
        if row.item.error
        else None,
        _list("could not be read", result.unread),
        _list("left over", result.leftovers),
        class_=f"trouble s-{look.key}",
    )


def _list(what: str, values: Sequence[str]) -> Markup | None:
    if not values:
        return None
    shown = [element("li", f"{what}: ", element("bdi", value)) for value in values[:_FILES]]
    if len(values) > _FILES:
        shown.append(element("li", f"and {len(values) - _FILES:,} more"))
    return element("ul", shown)


# When


def _chart(timeline: Timeline) -> Markup:
    tick = _tick(timeline.seconds)
    rows = [_row(row, timeline) for row in timeline.rows]
    dense = " dense" if len(rows) > _DENSE else ""
    return element(
        "section",
        element("h2", "Timeline"),
        element("p", "Each row is a volume. Point at a bar to read what it is."),
        _legend(timeline),
        element(
            "div",
            _at_once(timeline),
            _axis(timeline, tick),
            rows,
            _axis(timeline, tick) if len(rows) > _DENSE else None,
            class_=f"chart{dense}",
            style=f"--tick:{_percent(tick / timeline.seconds)}",
        ),
    )


def _tick(seconds: float) -> float:
    """The distance of two marks on the axis, so that there are about ten."""
    fitting = [tick for tick in _TICKS if seconds / tick <= 11]
    return fitting[0] if fitting else math.ceil(seconds / 10 / 3600) * 3600


def _axis(timeline: Timeline, tick: float) -> Markup:
    # The last one would stand over the edge.
    count = math.floor(timeline.seconds / tick * 0.985)
    marks = [
        element(
            "span", _mark(number * tick), style=f"left:{_percent(number * tick / timeline.seconds)}"
        )
        for number in range(count + 1)
    ]
    return element(
        "div",
        element("span"),
        element("div", marks, class_="axis"),
        element("span"),
        class_="row",
        aria_hidden="true",
    )


def _mark(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes}:{left:02d} min"


def _row(row: Row, timeline: Timeline) -> Markup:
    look = outcome_look(row.item.state)
    told = ", ".join(f"{_named(step)} {words.duration(step.seconds)}" for step in row.steps)
    began, ended = row.began, row.ended
    took = words.duration(ended - began) if began is not None and ended is not None else "-"
    bars = [_bar(step, timeline) for step in row.steps]
    return element(
        "div",
        element("span", element("bdi", row.name), title=f"{row.name} ({row.item.key})"),
        element(
            "div",
            bars,
            class_="track",
            role="img",
            aria_label=f"{row.name}: {look.title}; {told or 'nothing was done'}",
        ),
        element(
            "span",
            element("span", look.mark, class_=f"state s-{look.key}", title=look.title),
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
        style=f"left:{_percent(left)};width:{_percent(step.seconds / timeline.seconds)}",
        title=f"{_named(step)}: {words.duration(step.seconds)}\n"
        f"{words.clock(step.started)} \u2013 {words.clock(until)}",
    )


def _named(step: StepTime) -> str:
    """A step and how it ended, where that is not what one expects."""
    return {
        states.RUNNING: f"{step.name} (under way)",
        states.REVERTING: f"undo {step.name} (under way)",
        states.FAILURE: f"{step.name} (failed)",
        states.REVERTED: f"undo {step.name}",
        states.REVERT_FAILURE: f"undo {step.name} (failed)",
    }.get(step.state, step.name)


def _colour(step: StepTime) -> str:
    if step.state in (states.FAILURE, states.REVERT_FAILURE):
        return "bad"
    if step.state in (states.REVERTED, states.REVERTING):
        return f"{kind_of(step.name)} undo"
    if "wait" in step.name:
        return "wait"
    return str(kind_of(step.name)) + (" open" if step.state == states.RUNNING else "")


def _legend(timeline: Timeline) -> Markup:
    steps = [step for row in timeline.rows for step in row.steps]
    colours = {_colour(step).removesuffix(" open") for step in steps}
    entries = [(str(kind), kind.label) for kind in Kind if str(kind) in colours]
    if any("wait" in colour for colour in colours):
        entries.append(("wait", "wait for others"))
    if "bad" in colours:
        entries.append(("bad", "failed"))
    if any("undo" in colour for colour in colours):
        entries.append(("clean undo", "undone"))
    return element(
        "ul",
        [element("li", element("span", class_=f"swatch {key}"), title) for key, title in entries],
        class_="legend",
    )


def _at_once(timeline: Timeline) -> Markup:
    """How many volumes were worked on at a time, as areas."""
    most = max(1, timeline.most_at_once())
    areas = [
        element("path", d=_area(timeline, timeline.at_once(only), most), class_=name)
        for only, name in ((None, "all"), ("copy", "copying"))
    ]
    return element(
        "div",
        element("span", "Side by side", element("small", "dark: copying"), class_="head"),
        element(
            "div",
            element(
                "svg",
                areas,
                viewBox=f"0 0 1000 {most}",
                preserveAspectRatio="none",
                role="img",
                aria_label=f"At most {most} volumes were worked on at a time.",
            ),
            class_="track many",
        ),
        element("span", f"at most {most}"),
        class_="row",
    )


def _area(timeline: Timeline, counts: Sequence[tuple[float, int]], most: int) -> str:
    parts = [f"M0 {most}"]
    for when, count in counts:
        x = (when - timeline.began) / timeline.seconds * 1000
        parts.append(f"H{x:.2f}V{most - count}")
    return "".join([*parts, f"H1000V{most}Z"])


def _percent(share: float) -> str:
    return f"{share * 100:.3f}%"


# Where the time went


def _spent(timeline: Timeline) -> Markup | None:
    spent = sorted(timeline.spent, key=lambda one: -one.seconds)
    total = sum(one.seconds for one in spent)
    if not total:
        return None
    kinds: Counter[Kind] = Counter()
    for one in spent:
        kinds[kind_of(one.name)] += one.seconds  # type: ignore[assignment]
    parts = [
        element(
            "span",
            class_=str(kind),
            style=f"flex:{seconds / total:.4f}",
            title=f"{kind.label}: {words.duration(seconds)}, {seconds / total:.0%}",
        )
        for kind, seconds in kinds.most_common()
    ]
    lines = [
        element(
            "tr",
            element("td", element("span", class_=f"swatch {kind_of(one.name)}"), one.name),
            element(
                "td",
                element(
                    "div",
                    class_=f"meter {kind_of(one.name)}",
                    style=f"width:{_percent(one.seconds / spent[0].seconds)}",
                ),
                class_="grow",
            ),
            element("td", words.duration(one.seconds), class_="n"),
            element("td", f"{one.seconds / total:.1%}", class_="n"),
            element("td", words.duration(one.seconds / one.count), class_="n"),
            element("td", words.duration(one.longest[0]), class_="n"),
            element("td", element("bdi", one.longest[1])),
        )
        for one in spent
    ]
    heads: list[_Head] = [
        "Step",
        "",
        ("Sum", "n"),
        ("Share", "n"),
        ("Mean", "n"),
        ("Longest", "n"),
        "of volume",
    ]
    return element(
        "section",
        element("h2", "Where the time went"),
        element("p", f"The steps of all volumes add up to {words.duration(total)}."),
        element("div", parts, class_="share", aria_hidden="true"),
        _table(heads, lines),
    )


def _table(heads: Sequence[_Head], lines: Sequence[Markup]) -> Markup:
    cells = [
        element("th", head, scope="col")
        if isinstance(head, str)
        else element("th", head[0], class_=head[1], scope="col")
        for head in heads
    ]
    table = element("table", element("thead", element("tr", cells)), element("tbody", lines))
    return element("div", table, class_="scroll")


# What came of each volume


def _volumes(run: Run, timeline: Timeline) -> Markup:
    restored = run.kind == "restore"
    heads: list[_Head] = ["Volume", "Outcome"]
    if restored:
        heads += ["Restored to", "Backup"]
    else:
        heads += [("Files", "n"), ("Read", "n"), ("Size", "n"), ("New data", "n"), "Backup"]
    heads.append(("Time", "n"))
    rows = sorted(timeline.rows, key=lambda row: row.item.position)
    return element(
        "section",
        element(
            "details",
            element("summary", element("h2", "Volumes")),
            _table(heads, [_volume(row, restored) for row in rows]),
            open=True,
        ),
    )


def _volume(row: Row, restored: bool) -> Markup:
    result = row.result
    backup = (result.backup_id or "-")[:8]
    if restored:
        cells = [_id(result.target_id or "-"), _id(backup, result.backup_id)]
    else:
        figures = result.figures
        numbers = [
            f"{figures.files_total:,}",
            f"{figures.files_read:,}",
            words.size(figures.bytes_total),
            words.size(figures.bytes_stored),
        ]
        cells = [element("td", number, class_="n") for number in numbers]
        cells.append(_id(backup, result.backup_id))
    return element(
        "tr",
        element(
            "td",
            element("bdi", row.item.name) if row.item.name else None,
            element("div", row.item.key, class_="id"),
        ),
        element("td", _state(outcome_look(row.item.state))),
        cells,
        element("td", words.duration(result.seconds) if result.seconds else "-", class_="n"),
    )


def _id(value: str, title: str | None = None) -> Markup:
    return element("td", element("span", value, class_="id", title=title))


def _left_out(run: Run) -> Markup | None:
    found = record.left_out(run)
    if not found:
        return None
    lines = [
        element(
            "tr",
            element(
                "td",
                element("bdi", one.name) if one.name else None,
                element("div", one.volume_id, class_="id"),
            ),
            element("td", one.reason),
            element("td", "was wanted" if one.wanted else "as asked for"),
        )
        for one in found
    ]
    return element(
        "section",
        element("h2", "Left out"),
        element("p", "Found, and not covered by this run."),
        _table(["Volume", "Why", ""], lines),
    )


def _footer() -> Markup:
    made = words.moment(datetime.now(UTC))
    return element("footer", f"Made by volflow {version('volflow')}, {made}.")
