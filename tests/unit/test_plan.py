"""The plan of a run: what is connected runs as one, and all else by itself."""

from __future__ import annotations

from functools import partial

import faults
import pytest
from taskflow.patterns import linear_flow

from volflow.flows.plan import Plan


def _plan(*volumes: str) -> Plan:
    return Plan({volume: partial(linear_flow.Flow, volume) for volume in volumes})


def test_what_shares_nothing_runs_by_itself_in_the_order_given() -> None:
    components = _plan("c", "a", "b").components()
    assert [list(component.volumes) for component in components] == [["c"], ["a"], ["b"]]
    assert [[part.name for part in component.flow] for component in components] == [
        ["c"],
        ["a"],
        ["b"],
    ]


def test_what_is_connected_runs_as_one() -> None:
    plan = _plan("d", "c", "b", "a")
    plan.graph.add_edges_from([("a", "c"), ("b", "d")])
    found = [list(component.volumes) for component in plan.components()]
    assert found == [["d", "b"], ["c", "a"]]


def test_nothing_to_do() -> None:
    assert _plan().components() == []


@pytest.mark.parametrize("flow", faults.FLOWS)
def test_no_two_steps_of_a_flow_have_one_name(flow: str) -> None:
    """TaskFlow finds them by it, also in another process."""
    names = faults.steps(flow)
    assert len(set(names)) == len(names) > 5
