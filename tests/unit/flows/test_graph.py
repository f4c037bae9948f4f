"""The plan of a run: what is connected runs as one, and all else by itself."""

from __future__ import annotations

from typing import Any

import pytest
from taskflow.patterns import linear_flow

from tests.support import faults
from volflow.errors import RepositoryError
from volflow.flows.graph import FlowGraph, VolumeFlowFactory
from volflow.flows.restore import restore_flow
from volflow.plans.restore_target import Destination, Joining, RestoreTarget
from volflow.results.options import RestoreOptions
from volflow.tasks.base import Step
from volflow.tasks.group import GroupWanted, RestoredGroup
from volflow.tasks.work import Work

# What nobody looks at before a step is run.
NOTHING: Any = None


def _way(volume: str, trouble: str | None = None) -> VolumeFlowFactory:
    """The way of a volume, whose manifest cannot be read if there is a trouble."""

    def make(*, undo: bool = False) -> linear_flow.Flow:
        if trouble and not undo:
            raise RepositoryError(trouble)
        return linear_flow.Flow(f"{volume} back" if undo else volume)

    return make


def _plan(*volumes: str) -> FlowGraph:
    return FlowGraph({volume: _way(volume) for volume in volumes})


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


def test_a_volume_whose_steps_cannot_be_made_is_only_undone() -> None:
    plan = FlowGraph({"a": _way("a", "damaged"), "b": _way("b")})
    plan.graph.add_edge("a", "b")
    (component,) = plan.components()
    for _ in range(2):
        assert [part.name for part in component.flow] == ["a back", "b"]
        assert component.undo_only == {"a": "damaged"}
        component.forget_flow()


def test_all_is_only_undone() -> None:
    """Nothing is read for it, which could take long and fail."""
    (component,) = FlowGraph({"a": _way("a")}, undo="aborted").components()
    assert [part.name for part in component.flow] == ["a back"]
    assert component.undo_only == {"a": "aborted"}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("destination", Destination)
def test_what_is_only_undone_needs_no_manifest(destination: Destination, grouped: bool) -> None:
    values = {
        "backup_id": "backup",
        "created_at": "2026-01-02T03:04:05",
        "tags": {"volume": "volume"},
        "destination": str(destination),
        "existing": {"id": "volume"},
        "joins": str(Joining.ANEW),
    }
    work = Work(NOTHING, "volume", NOTHING, NOTHING, NOTHING)
    wanted = GroupWanted({}, "", (), None)
    group = RestoredGroup(work, wanted, anew=True) if grouped else None
    options = RestoreOptions(meta_override={}, type_map={"a": "b"}, az_map={"a": "b"})
    flow = restore_flow(work, RestoreTarget.from_dict(values, None), options, group)
    assert len([step for step in flow if isinstance(step, Step)]) > 5


def test_nothing_to_do() -> None:
    assert _plan().components() == []


@pytest.mark.parametrize("flow", faults.FLOWS)
def test_no_two_steps_of_a_flow_have_one_name(flow: str) -> None:
    """TaskFlow finds them by it, also in another process."""
    names = faults.steps(flow)
    assert len(set(names)) == len(names) > 5
