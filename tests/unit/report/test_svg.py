"""The drawing of a graph is valid XML and has all the information that a person needs."""

from __future__ import annotations

from xml.etree import ElementTree

from taskflow import states

from persistence import ItemState
from tests.support.reports import (
    atom,
    graph,
    hostile_graph,
    in_flow,
    volume,
)
from volflow.report.svg import svg


def test_the_drawing_is_xml_and_nothing_else() -> None:
    drawn = ElementTree.fromstring(svg(hostile_graph()))
    names = {part.tag.rpartition("}")[2] for part in drawn.iter()}
    assert names <= {"svg", "title", "style", "g", "rect", "text", "tspan", "path"}
    assert not [key for part in drawn.iter() for key in part.attrib if key.startswith("on")]
    titles = [part.text or "" for part in drawn.iter() if part.tag.endswith("title")]
    assert any(r"\x1b[31m\x00\u202e" in title for title in titles)


def test_the_drawing_tells_all() -> None:
    items = [
        in_flow(volume("a", state=ItemState.COMPLETE), "a"),
        in_flow(volume("b", state=ItemState.RUNNING), "b"),
    ]
    shared = atom("g:group snapshot", states.SUCCESS)
    flows = {
        "a": [shared, atom("a:copy", states.SUCCESS)],
        "b": [atom("b:a step with quite a long name", states.RUNNING)],
    }
    drawn = ElementTree.fromstring(svg(graph(items, flows)))
    told = [" ".join(part.itertext()) for part in drawn.iter() if part.tag.endswith("text")]
    assert "group snapshot" in told
    assert "copy" in told
    assert told.count("✓ done") == 2
    assert "▶ running" in told
    boxes = [part.attrib for part in drawn.iter() if part.tag.endswith("rect")]
    assert len(boxes) == 4, "three tasks, and the frame of the group"
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    for box in boxes:
        assert float(box["x"]) + float(box["width"]) <= width
        assert float(box["y"]) + float(box["height"]) <= height
