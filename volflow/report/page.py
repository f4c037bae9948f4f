"""A run as one self-contained HTML page, without scripts, fonts and external files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import resources
from importlib.metadata import version

from persistence import Item, Run
from volflow.report import tables, words
from volflow.report.chart import chart
from volflow.report.kinds import Look, outcome_look
from volflow.report.markup import Markup, element, trusted
from volflow.report.remarks import remarks
from volflow.report.timeline import Row, Timeline
from volflow.results import stored
from volflow.results.outcome import Figures
from volflow.results.request import request_of

# Maximum number of remarks on one volume. The result as JSON has all of them.
_REMARKS = 50
_NOT_COVERED = Look("partial", "\u25d0", "not covered")


def page(run: Run, items: Sequence[Item], *, driven: bool, now: datetime | None = None) -> str:
    """The page.

    :param driven: whether a process works on the run
    :param now: the present by default
    """
    # If no process drives the run, its last update is the latest known time.
    until = run.finished_at or (now or datetime.now(UTC) if driven else run.updated_at)
    look = outcome_look(run, driven=driven)
    timeline = Timeline.of(
        items, driven=driven, began=run.created_at.timestamp(), now=until.timestamp()
    )
    title = f"{run.kind.capitalize()} of {words.plural(len(items), 'volume')}"
    style = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    document = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            # Whatever a name contains, the browser runs no script and loads no file.
            element(
                "meta",
                http_equiv="Content-Security-Policy",
                content="default-src 'none'; style-src 'unsafe-inline'",
            ),
            element("title", f"{title}: {look.title}"),
            element("style", trusted(style)),
        ),
        element(
            "body",
            _header(run, title, look, until),
            element(
                "main",
                _tiles(run, timeline),
                _remarks(run, timeline),
                chart(timeline),
                tables.spent(timeline),
                tables.volumes(run, timeline),
                tables.groups(run),
                tables.notes(run),
                tables.left_out(run),
            ),
            element(
                "footer",
                f"Made by volflow {version('volflow')}, {words.moment(datetime.now(UTC))}.",
            ),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{document}\n"


def _header(run: Run, title: str, look: Look, until: datetime) -> Markup:
    how = "ended" if run.state.final else "not ended; last updated"
    facts = [
        f"began {words.moment(run.created_at)}",
        f"{how} {words.moment(until)}",
        f"on {run.host}, process {run.pid}",
        f"repository {request_of(run).repository or '-'}",
    ]
    badge = element(
        "span",
        element("span", look.mark, aria_hidden="true"),
        look.title,
        class_=f"badge s-{look.key}",
    )
    return element(
        "header",
        element("div", "volflow ", element("span", f"run {run.id}", class_="id"), class_="eyebrow"),
        element("div", element("h1", title), badge, class_="title"),
        element("p", [element("span", fact) for fact in facts], class_="facts"),
    )


# The totals


def _tiles(run: Run, timeline: Timeline) -> Markup:
    rows = timeline.rows
    worked = sum(row.worked for row in rows)
    begun = sum(1 for row in rows if row.steps)
    each = f"on average {words.duration(worked / begun)} a volume" if begun else "nothing was done"
    looks = Counter(row.look.title for row in rows)
    outcomes = ", ".join(f"{count} {title}" for title, count in looks.most_common())
    allowed = request_of(run).parallel or "-"
    tiles = [
        ("Duration", words.duration(timeline.seconds), each),
        ("Volumes", f"{len(rows):,}", outcomes),
        (
            "In parallel",
            f"{worked / timeline.seconds:.1f}",
            f"on average; at most {timeline.most_at_once()}, limit {allowed}",
        ),
    ]
    total = _total(rows)
    if total.files_total:
        share = total.bytes_stored / total.bytes_total if total.bytes_total else 0.0
        tiles += [
            ("Files", f"{total.files_total:,}", f"{total.files_read:,} new or changed"),
            ("Size", words.size(total.bytes_total), f"{words.size(total.bytes_read)} read"),
            ("New data", words.size(total.bytes_stored), f"{share:.1%} of the size"),
        ]
    return element("dl", [_tile(*tile) for tile in tiles], class_="tiles")


def _tile(name: str, value: str, more: str) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="value"),
        element("dd", more, class_="more"),
        class_="tile",
    )


def _total(rows: Sequence[Row]) -> Figures:
    figures = [row.result.figures for row in rows]
    return Figures(
        files_new=sum(one.files_new for one in figures),
        files_changed=sum(one.files_changed for one in figures),
        files_unmodified=sum(one.files_unmodified for one in figures),
        bytes_total=sum(one.bytes_total for one in figures),
        bytes_read=sum(one.bytes_read for one in figures),
        bytes_stored=sum(one.bytes_stored for one in figures),
    )


# What needs attention


def _remarks(run: Run, timeline: Timeline) -> Markup | None:
    found = [
        _remark(row.name, row.look, lines)
        for row in timeline.rows
        if (lines := remarks(row.result))
    ]
    found += [
        _remark(one.name or one.volume_id, _NOT_COVERED, [one.reason])
        for one in stored.left_out(run)
        if one.wanted
    ]
    return element("section", element("h2", "To look at"), found) if found else None


def _remark(name: str, look: Look, lines: Sequence[str]) -> Markup:
    shown = list(lines[:_REMARKS])
    if len(lines) > _REMARKS:
        shown.append(f"and {len(lines) - _REMARKS:,} more")
    return element(
        "div",
        element("strong", element("bdi", name)),
        " ",
        tables.state(look),
        [element("p", element("bdi", line)) for line in shown],
        class_=f"trouble s-{look.key}",
    )
