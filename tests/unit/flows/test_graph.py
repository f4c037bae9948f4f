"""The flow graph of a run: connected volumes run together, all others separately."""

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

# Not used until a step runs.
NOTHING: Any = None


def _factory(volume: str, error: str | None = None) -> VolumeFlowFactory:
    """A factory for the flow of a volume; with ``error``, its manifest cannot be read."""

    def make(*, undo: bool = False) -> linear_flow.Flow:
        if error and not undo:
            raise RepositoryError(error)
        return linear_flow.Flow(f"{volume} back" if undo else volume)

    return make


def _plan(*volumes: str) -> FlowGraph:
    return FlowGraph({volume: _factory(volume) for volume in volumes})


def test_unconnected_volumes_run_separately_in_the_given_order() -> None:
    components = _plan("c", "a", "b").components()
    assert [list(component.volumes) for component in components] == [["c"], ["a"], ["b"]]
    assert [[part.name for part in component.flow] for component in components] == [
        ["c"],
        ["a"],
        ["b"],
    ]


def test_connected_volumes_run_together() -> None:
    plan = _plan("d", "c", "b", "a")
    plan.graph.add_edges_from([("a", "c"), ("b", "d")])
    found = [list(component.volumes) for component in plan.components()]
    assert found == [["d", "b"], ["c", "a"]]


def test_a_volume_whose_flow_cannot_be_built_is_only_undone() -> None:
    plan = FlowGraph({"a": _factory("a", "damaged"), "b": _factory("b")})
    plan.graph.add_edge("a", "b")
    (component,) = plan.components()
    for _ in range(2):
        assert [part.name for part in component.flow] == ["a back", "b"]
        assert component.undo_only == {"a": "damaged"}
        component.forget_flow()


def test_an_aborted_run_is_only_undone() -> None:
    """Reading manifests for it could take long, and fail."""
    (component,) = FlowGraph({"a": _factory("a")}, undo="aborted").components()
    assert [part.name for part in component.flow] == ["a back"]
    assert component.undo_only == {"a": "aborted"}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("destination", Destination)
def test_undoing_a_restore_needs_no_manifest(destination: Destination, grouped: bool) -> None:
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


def test_a_graph_without_volumes_has_no_components() -> None:
    assert _plan().components() == []


@pytest.mark.parametrize("flow", faults.FLOWS)
def test_the_steps_of_a_flow_have_different_names(flow: str) -> None:
    """TaskFlow finds steps by name, even in another process."""
    names = faults.steps(flow)
    assert len(set(names)) == len(names) > 5
