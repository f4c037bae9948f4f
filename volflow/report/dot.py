"""The graph of a run's tasks in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from volflow.printable import printable_lines
from volflow.report.graph import Node, RunGraph

_COLOURS = {
    "done": ("#d7f0e2", "#1a7f4b"),
    "failed": ("#fbdcde", "#cf2f3b"),
    "running": ("#d9e8fa", "#2a78d6"),
    "undoing": ("#faeccb", "#9a6700"),
    "undone": ("#e8eaed", "#59636e"),
    "interrupted": ("#faeccb", "#9a6700"),
    "waiting": ("#ffffff", "#9aa3ad"),
}


def dot(graph: RunGraph) -> str:
    """The graph as text, for ``dot`` and other programs."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: RunGraph) -> Iterator[str]:
    run = graph.run
    yield f"digraph {_quoted(run.id)} {{"
    yield f"  label={_quoted(f'{run.kind} {run.id}: {graph.look.title}')};"
    yield "  rankdir=LR;"
    yield '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11];'
    for group in graph.groups:
        for node in group.shared:
            yield f"  {_node(node)}"
        for lane in group.lanes:
            yield f"  subgraph {_quoted(f'cluster {lane.item.key}')} {{"
            yield f"    label={_quoted(f'{lane.title}: {lane.look.title}')};"
            yield f"    tooltip={_quoted(lane.item.key)};"
            yield "    color=lightgrey;"
            for node in lane.nodes:
                yield f"    {_node(node)}"
            yield "  }"
            way = [*group.shared, *lane.nodes]
            for before, after in pairwise(way):
                yield f"  {_quoted(before.name)} -> {_quoted(after.name)};"
    yield "}"


def _node(node: Node) -> str:
    fill, line = _COLOURS[node.look.key]
    attributes = {
        "label": f"{node.step}\n{node.look.mark} {node.look.title}",
        "tooltip": node.error or node.look.title,
        "fillcolor": fill,
        "color": line,
    }
    text = ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
    return f"{_quoted(node.name)} [{text}];"


def _quoted(value: str) -> str:
    """A string in DOT. A backslash begins an escape, also before a quote."""
    escaped = printable_lines(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n") + '"'
