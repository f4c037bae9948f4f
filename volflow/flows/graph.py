"""The graph of a run: which volumes share a step, and which flows follow from that.

Volumes that share a step form one component, which runs as one flow of TaskFlow; a volume that
shares nothing is a component of its own. One flow over all volumes would compile in quadratic
time, start all volumes at once regardless of the limit, and stop all of them if one revert fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import networkx
from taskflow.patterns import graph_flow, linear_flow

from volflow.errors import VolflowError
from volflow.printable import bounded
from volflow.tasks.base import Step, Temporary


class VolumeFlowFactory(Protocol):
    """Makes a new flow for one volume at each call."""

    def __call__(self, *, undo: bool = False) -> linear_flow.Flow:
        """
        :param undo: make a flow that is only reverted, for which the ledger is enough
        :raises VolflowError: what the flow needs cannot be read; never with ``undo``
        """
        ...


@dataclass(frozen=True)
class Component:
    """Volumes that run as one flow.

    :ivar volumes: their ids, in the order given
    :ivar shared: the temporary resources that they share, removed when the flow has ended
    :ivar factories: make the flow of each volume
    :ivar undo: why all volumes are only undone; None if they are not
    :ivar undo_only: why a volume is only undone, by its id; complete when the flow has been made
    """

    volumes: Sequence[str]
    shared: Sequence[Temporary]
    factories: Sequence[VolumeFlowFactory]
    undo: str | None = None
    undo_only: dict[str, str] = field(default_factory=dict)

    @cached_property
    def flow(self) -> graph_flow.Flow:
        """The flow, made at first use."""
        self.undo_only.clear()
        flow = graph_flow.Flow(self.volumes[0])
        # A single volume gets no input from others: TaskFlow need not search for it.
        linked = len(self.volumes) + len(self.shared) > 1
        flow.add(
            *self.shared,
            *map(self._flow_of, self.volumes, self.factories),
            resolve_requires=linked,
            resolve_existing=linked,
        )
        return flow

    def _flow_of(self, volume_id: str, factory: VolumeFlowFactory) -> linear_flow.Flow:
        why = self.undo
        if why is None:
            try:
                return factory()
            except VolflowError as error:
                why = bounded(str(error))
        self.undo_only[volume_id] = why
        return factory(undo=True)

    def forget_flow(self) -> None:
        """Free the flow: the steps of a thousand volumes need not be in memory at once."""
        for name in ("flow", "_steps"):
            vars(self).pop(name, None)

    def steps(self, volume_id: str) -> list[Step]:
        """The steps of one volume, in order."""
        return self._steps[volume_id]

    @cached_property
    def _steps(self) -> dict[str, list[Step]]:
        """The steps by volume id. Cached: each volume of a large group asks for its own."""
        found: dict[str, list[Step]] = {volume_id: [] for volume_id in self.volumes}
        for part in self.flow:
            if isinstance(part, linear_flow.Flow):
                for step in part:
                    if isinstance(step, Step):
                        found[step.work.volume_id].append(step)
        return found

    def outline(self) -> dict[str, Any]:
        """The names of the steps as JSON values, for the reports on a stored run."""
        return {
            "shared": [step.name for step in self.shared],
            "volumes": {
                volume_id: [step.name for step in self.steps(volume_id)]
                for volume_id in self.volumes
            },
        }

    @property
    def all_steps(self) -> list[Step]:
        """The shared steps, and the steps of all volumes."""
        return [*self.shared, *(s for volume_id in self.volumes for s in self.steps(volume_id))]


class FlowGraph:
    """Volumes and what they share.

    :param factories: make the flow of each volume, by volume id
    :param shared: temporary resources, each with the ids of the volumes that need it
    :param undo: why all volumes are only undone; None if they are not
    """

    def __init__(
        self,
        factories: Mapping[str, VolumeFlowFactory],
        shared: Sequence[tuple[Temporary, Sequence[str]]] = (),
        *,
        undo: str | None = None,
    ) -> None:
        self._factories = dict(factories)
        self._undo = undo
        self.graph = networkx.Graph()
        self.graph.add_nodes_from(self._factories)
        for temporary, volumes in shared:
            self.graph.add_edges_from((temporary, volume_id) for volume_id in volumes)

    def components(self) -> list[Component]:
        """The components, in the order in which their first volumes were given."""
        order = {volume_id: place for place, volume_id in enumerate(self._factories)}
        found = []
        for nodes in networkx.connected_components(self.graph):
            volumes = sorted((n for n in nodes if n in order), key=order.__getitem__)
            shared = sorted((n for n in nodes if n not in order), key=lambda n: str(n.name))
            found.append(
                Component(volumes, shared, [self._factories[v] for v in volumes], self._undo)
            )
        return sorted(found, key=lambda component: order[component.volumes[0]])
