"""The tables of the page: steps, volumes, groups, and volumes that were left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from persistence import Run
from volflow.report import words
from volflow.report.chart import percent, swatch
from volflow.report.kinds import Kind, Look, kind_of
from volflow.report.markup import Child, Markup, element
from volflow.report.timeline import Row, Spent, Timeline
from volflow.results import stored
from volflow.results.request import request_of


def spent(timeline: Timeline) -> Markup | None:
    """Where the time went."""
    found = timeline.spent()
    total = sum(one.seconds for one in found)
    if not total:
        return None
    kinds: Counter[Kind] = Counter()
    for one in found:
        kinds[kind_of(one.name)] += one.seconds  # type: ignore[assignment]
    parts = [
        element(
            "span",
            class_=f"k-{kind}",
            style=f"flex:{seconds / total:.4f}",
            title=f"{kind.label}: {words.duration(seconds)}, {seconds / total:.0%}",
        )
        for kind, seconds in kinds.most_common()
    ]
    return element(
        "section",
        element("h2", "Where the time went"),
        element("p", f"The steps of all volumes add up to {words.duration(total)}."),
        element("div", parts, class_="share", aria_hidden="true"),
        _table(
            ["Step", "", "#Sum", "#Share", "#Mean", "#Longest", "of volume"],
            [_step(one, total, found[0].seconds) for one in found],
        ),
    )


def _step(one: Spent, total: float, most: float) -> Sequence[Child]:
    colour = f"k-{kind_of(one.name)}"
    seconds, name = one.longest
    return [
        element("span", swatch(colour), one.name, class_="step"),
        element("div", class_=f"meter {colour}", style=f"width:{percent(one.seconds / most)}"),
        words.duration(one.seconds),
        f"{one.seconds / total:.1%}",
        words.duration(one.seconds / one.count),
        words.duration(seconds),
        element("bdi", name),
    ]


def volumes(run: Run, timeline: Timeline) -> Markup:
    """The outcome of each volume."""
    rows = sorted(timeline.rows, key=lambda row: row.item.position)
    if run.kind == "restore":
        heads = ["Volume", "Outcome", "Restored to", "Backup", "#Time"]
        lines = [_restored(row) for row in rows]
    else:
        figures = ["#Files", "#New", "#Size", "#Read", "#New data"]
        heads = ["Volume", "Outcome", *figures, "Backup", "#Time"]
        lines = [_backed_up(row) for row in rows]
    return element("section", element("h2", "Volumes"), _table(heads, lines))


def _backed_up(row: Row) -> Sequence[Child]:
    result, figures = row.result, row.result.figures
    numbers = ["-"] * 5
    if result.backup_id:
        numbers = [
            f"{figures.files_total:,}",
            f"{figures.files_read:,}",
            words.size(figures.bytes_total),
            words.size(figures.bytes_read),
            words.size(figures.bytes_stored),
        ]
    return [_volume(row), state(row.look), *numbers, _backup(row), _time(row)]


def _restored(row: Row) -> Sequence[Child]:
    return [
        _volume(row),
        state(row.look),
        element("span", row.result.target_id or "-", class_="id"),
        _backup(row),
        _time(row),
    ]


def _volume(row: Row) -> Markup:
    return named(row.item.name, row.item.key)


def named(name: str, volume_id: str) -> Markup:
    """A volume's name, if it has one, and its id."""
    return element(
        "div",
        element("bdi", name) if name else None,
        element("div", volume_id, class_="id"),
        class_="named",
    )


def _backup(row: Row) -> Markup:
    backup_id = row.result.backup_id
    return element("span", (backup_id or "-")[:8], class_="id", title=backup_id)


def _time(row: Row) -> str:
    return words.duration(row.result.seconds) if row.result.seconds else "-"


def state(look: Look) -> Markup:
    """A state in its colour and with its mark."""
    mark = element("span", look.mark, aria_hidden="true")
    return element("span", mark, " ", look.title, class_=f"state s-{look.key}")


def groups(run: Run) -> Markup | None:
    """How the volumes of each group were snapshotted."""
    request = request_of(run)
    if not request.consistent:
        return None
    return element(
        "section",
        element("h2", "Groups"),
        _table(
            ["Group", "#Volumes", "Snapshots"],
            [
                [
                    element("span", group_id, class_="id"),
                    str(len(request.groups[group_id])) if group_id in request.groups else "not all",
                    words.snapshotted(how),
                ]
                for group_id, how in request.consistent.items()
            ],
        ),
    )


def notes(run: Run) -> Markup | None:
    """The notes on the run as a whole."""
    found = request_of(run).notes
    if not found:
        return None
    shown = [element("p", element("bdi", note)) for note in found]
    return element("section", element("h2", "Notes"), shown)


def left_out(run: Run) -> Markup | None:
    """The selected volumes that the run does not cover."""
    found = stored.left_out(run)
    if not found:
        return None
    return element(
        "section",
        element("h2", "Left out"),
        element("p", "These volumes were found, but this run does not cover them."),
        _table(
            ["Volume", "Why", ""],
            [
                [
                    named(one.name, one.volume_id),
                    one.reason,
                    "should be covered" if one.wanted else "as requested",
                ]
                for one in found
            ],
        ),
    )


def _table(heads: Sequence[str], lines: Sequence[Sequence[Child]]) -> Markup:
    """A table.

    :param heads: the headings of the columns; ``#`` marks a column of numbers
    """
    classes = ["n" if head.startswith("#") else None for head in heads]
    cells = [
        element("th", head.removeprefix("#"), class_=class_, scope="col")
        for head, class_ in zip(heads, classes, strict=True)
    ]
    rows = [
        element(
            "tr",
            [
                element("td", cell, class_=class_)
                for cell, class_ in zip(line, classes, strict=True)
            ],
        )
        for line in lines
    ]
    table = element("table", element("thead", element("tr", cells)), element("tbody", rows))
    return element("div", table, class_="scroll")
