"""The graph of a run shows the state of each task."""

from __future__ import annotations

from xml.etree import ElementTree

from taskflow import states

from persistence import ItemState, RunState
from tests.support.reports import (
    atom,
    graph,
    in_flow,
    looks,
    run,
    volume,
)
from volflow.report.graph import RunGraph
from volflow.report.svg import svg


def test_the_state_of_each_task() -> None:
    item = in_flow(volume("a", state=ItemState.RUNNING), "a")
    atoms = [
        atom("a:one", states.SUCCESS),
        atom("a:two", states.RUNNING),
        atom("a:three", None),
    ]
    assert looks(graph([item], {"a": atoms})) == {
        "a:one": "done",
        "a:two": "running",
        "a:three": "waiting",
    }
    assert looks(graph([item], {"a": atoms}, driven=False))["a:two"] == "interrupted"


def test_a_volume_that_failed() -> None:
    item = in_flow(volume("a", state=ItemState.FAILED), "a")
    atoms = [
        atom("a:one", states.REVERTED),
        atom("a:two", states.REVERTED, error="No <room>."),
        atom("a:three", None),
    ]
    found = graph([item], {"a": atoms}, state=RunState.FAILED)
    assert looks(found) == {"a:one": "undone", "a:two": "failed, undone", "a:three": "not done"}
    assert found.groups[0].lanes[0].nodes[1].error == "No <room>."


def test_before_there_is_a_logbook() -> None:
    found = RunGraph.of(run(RunState.RUNNING), [volume("a"), volume("b")], None, driven=True)
    assert [[lane.title for lane in group.lanes] for group in found.groups] == [["a"], ["b"]]
    assert ElementTree.fromstring(svg(found)) is not None
