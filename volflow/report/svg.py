"""The graph of a run's tasks as an SVG image: a row for each volume, a box for each task."""

from __future__ import annotations

from collections import Counter

from volflow.report import words
from volflow.report.graph import Group, Lane, Node, RunGraph
from volflow.report.markup import Markup, Value, element, join, trusted

# All sizes are in pixels.
_MARGIN = 20
_TITLE = 66
_LABEL = 190
_WIDTH, _HEIGHT = 128, 38
_GAP_X, _GAP_Y = 14, 10
_SHARED = 160
_GROUP_GAP = 14

_STYLE = """
:root { color-scheme: light dark; }
svg { background: #fff; font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
text { fill: #1b1f24; font-size: 11.5px; } .h { font-size: 17px; font-weight: 650; }
.soft { fill: #59636e; } .name { font-weight: 600; font-size: 12.5px; }
.mid { text-anchor: middle; } .small { font-size: 10.5px; }
rect { rx: 6px; stroke-width: 1.2; } path { fill: none; stroke: #c3cad2; stroke-width: 1.4; }
.frame { fill: none; stroke: #d5dae0; stroke-dasharray: 5 4; rx: 10px; }
.done { fill: #e4f5ec; stroke: #1a7f4b; }
.failed { fill: #fde4e6; stroke: #cf2f3b; stroke-width: 2; }
.running { fill: #dfecfb; stroke: #2a78d6; stroke-width: 2; }
.undoing, .interrupted { fill: #fbf0d6; stroke: #9a6700; stroke-width: 2; }
.undone { fill: #eef0f2; stroke: #818b98; stroke-dasharray: 4 2; }
.waiting { fill: #fff; stroke: #cdd3da; }
.t-done { fill: #14663c; } .t-failed { fill: #b3202c; font-weight: 600; }
.t-running { fill: #1c5fb0; font-weight: 600; }
.t-undoing, .t-interrupted, .t-partial { fill: #7d5300; font-weight: 600; }
.t-undone, .t-waiting { fill: #59636e; }
@media (prefers-color-scheme: dark) {
  svg { background: #14181d; } text { fill: #e6e9ed; } .soft { fill: #a2abb6; }
  path { stroke: #454d57; } .frame { stroke: #3a424c; }
  .done { fill: #12301f; stroke: #37a870; } .failed { fill: #3d1619; stroke: #ff6b70; }
  .running { fill: #12283f; stroke: #5aa2f2; }
  .undoing, .interrupted { fill: #35290d; stroke: #e0ad3c; }
  .undone { fill: #20262d; stroke: #6a7480; } .waiting { fill: #14181d; stroke: #454d57; }
  .t-done { fill: #63d69c; } .t-failed { fill: #ff8b8f; } .t-running { fill: #7cb6f5; }
  .t-undoing, .t-interrupted, .t-partial { fill: #ebc163; }
  .t-undone, .t-waiting { fill: #a2abb6; }
}
"""


def svg(graph: RunGraph) -> str:
    """The image, as the text of a file."""
    shared = any(group.shared for group in graph.groups)
    left = _MARGIN + _LABEL + (_SHARED if shared else 0)
    longest = max((len(lane.nodes) for g in graph.groups for lane in g.lanes), default=0)
    width = max(left + longest * (_WIDTH + _GAP_X) - _GAP_X + _MARGIN, 640)
    y = _MARGIN + _TITLE
    parts = []
    for group in graph.groups:
        parts.append(_group(group, left, y, width))
        y += len(group.lanes) * (_HEIGHT + _GAP_Y) + (_GROUP_GAP if group.shared else 0)
    height = y - _GAP_Y + _MARGIN
    title = f"{graph.run.kind} {graph.run.id}: {graph.look.title}"
    drawing = element(
        "svg",
        element("title", title),
        element("style", trusted(_STYLE)),
        _header(graph),
        parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{drawing}\n'


def _header(graph: RunGraph) -> Markup:
    run, lanes = graph.run, [lane for group in graph.groups for lane in group.lanes]
    look = graph.look
    counts = Counter(lane.look.title for lane in lanes)
    outcomes = ", ".join(f"{count} {name}" for name, count in counts.items())
    heading = f"{run.kind.capitalize()} of {words.plural(len(lanes), 'volume')}: "
    return join(
        [
            element(
                "text",
                heading,
                element("tspan", f"{look.mark} {look.title}", class_=f"t-{look.key}"),
                x=_MARGIN,
                y=_MARGIN + 16,
                class_="h",
            ),
            element(
                "text",
                f"run {run.id}, began {words.moment(run.created_at)}; {outcomes}",
                x=_MARGIN,
                y=_MARGIN + 38,
                class_="soft",
            ),
        ]
    )


def _group(group: Group, left: int, top: int, width: int) -> Markup:
    parts: list[Markup] = []
    pitch = _HEIGHT + _GAP_Y
    if group.shared:
        height = len(group.lanes) * pitch - _GAP_Y
        parts.append(
            element(
                "rect",
                class_="frame",
                x=_MARGIN - 10,
                y=top - 7,
                width=width - 2 * _MARGIN + 20,
                height=height + 14,
            )
        )
        parts += _shared(group, left - _SHARED, top, height)
    for number, lane in enumerate(group.lanes):
        parts.append(_lane(lane, left, top + number * pitch))
    return element("g", parts)


def _shared(group: Group, left: int, top: int, height: int) -> list[Markup]:
    """The tasks that volumes share, in the middle of their rows, with a line to each volume."""
    middle = top + height / 2
    parts = []
    count = len(group.shared)
    for number, node in enumerate(group.shared):
        y = middle - _HEIGHT / 2 + (number - (count - 1) / 2) * (_HEIGHT + _GAP_Y)
        for row in range(len(group.lanes)):
            end = top + row * (_HEIGHT + _GAP_Y) + _HEIGHT / 2
            right, start = left + _SHARED, y + _HEIGHT / 2
            bend = (left + _WIDTH + right) / 2
            parts.append(
                element(
                    "path",
                    d=f"M{left + _WIDTH} {start:g}C{bend} {start:g} {bend} {end:g} {right} {end:g}",
                )
            )
        parts.append(_box(node, left, y))
    return parts


def _lane(lane: Lane, left: int, top: int) -> Markup:
    look = lane.look
    middle = top + _HEIGHT / 2
    parts: list[Markup] = [
        element(
            "g",
            element("title", f"{lane.title} ({lane.item.key})"),
            _text(lane.title, 22, _LABEL - 16, x=_MARGIN, y=top + 16.0, class_="name"),
            element(
                "text",
                f"{look.mark} {look.title}",
                x=_MARGIN,
                y=top + 31.0,
                class_=f"small t-{look.key}",
            ),
        )
    ]
    for number, node in enumerate(lane.nodes):
        x = left + number * (_WIDTH + _GAP_X)
        if number:
            parts.append(element("path", d=f"M{x - _GAP_X} {middle:g}H{x}"))
        parts.append(_box(node, x, float(top)))
    return element("g", parts)


def _box(node: Node, x: int, y: float) -> Markup:
    look = node.look
    middle = x + _WIDTH / 2
    lines = [f"{node.step}: {look.title}", *([node.error] if node.error else [])]
    return element(
        "g",
        element("title", "\n".join(lines)),
        element("rect", class_=look.key, x=x, y=y, width=_WIDTH, height=_HEIGHT),
        _text(node.step, 17, _WIDTH - 12, x=middle, y=y + 16, class_="mid"),
        element(
            "text",
            f"{look.mark} {look.title}",
            x=middle,
            y=y + 30,
            class_=f"mid small t-{look.key}",
        ),
    )


def _text(text: str, fitting: int, width: int, **attributes: Value) -> Markup:
    """A line of text. A longer one is compressed, and truncated if that is not enough.

    :param fitting: number of characters that fit into the width in any font
    """
    if len(text) > fitting * 3 // 2:
        text = text[: fitting * 3 // 2 - 1] + "\u2026"
    if len(text) > fitting:
        attributes |= {"textLength": width, "lengthAdjust": "spacingAndGlyphs"}
    return element("text", text, **attributes)
