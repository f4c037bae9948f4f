"""The plan of a run: which volumes share a step, and the flows that follow from it.

Volumes that share a step form one component, which runs as one graph flow; a volume that shares
nothing is a component of one. One graph over all volumes would compile in quadratic time, start
every volume at once whatever the limit, and stop all of them when one revert fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import networkx
from taskflow.patterns import graph_flow, linear_flow

from volflow.errors import VolflowError
from volflow.tasks.base import Step, Temporary


class VolumeFlowFactory(Protocol):
    """Makes the steps of one volume; each time anew."""

    def __call__(self, *, undo: bool = False) -> linear_flow.Flow:
        """
        :param undo: they are only to be undone, for which the ledger is enough
        :raises VolflowError: what they need cannot be read; never if they are only to be undone
        """
        ...


@dataclass(frozen=True)
class Component:
    """Volumes that run as one flow.

    :ivar volumes: their ids, in the order given
    :ivar shared: what they share, which goes when the flow has ended
    :ivar ways: make the way of each volume
    :ivar undo: why all of it is only to be undone, if so
    :ivar hopeless: why a volume is only to be undone, by its id; known when the flow is made
    """

    volumes: Sequence[str]
    shared: Sequence[Temporary]
    ways: Sequence[VolumeFlowFactory]
    undo: str | None = None
    undo_only: dict[str, str] = field(default_factory=dict)

    @cached_property
    def flow(self) -> graph_flow.Flow:
        """The flow, made when it is first asked for."""
        self.undo_only.clear()
        flow = graph_flow.Flow(self.volumes[0])
        # One volume has nobody to give it anything: there is nothing to be looked for.
        linked = len(self.volumes) + len(self.shared) > 1
        flow.add(
            *self.shared,
            *map(self._steps_of, self.volumes, self.ways),
            resolve_requires=linked,
            resolve_existing=linked,
        )
        return flow

    def _steps_of(self, volume_id: str, way: VolumeFlowFactory) -> linear_flow.Flow:
        why = self.undo
        if why is None:
            try:
                return way()
            except VolflowError as error:
                why = str(error)
        self.undo_only[volume_id] = why
        return way(undo=True)

    def forget_flow(self) -> None:
        """Let go of the flow: the steps of a thousand volumes need not all be there at once."""
        for name in ("flow", "_steps"):
            vars(self).pop(name, None)

    def steps(self, volume_id: str) -> list[Step]:
        """The steps of one volume, in their order."""
        return self._steps[volume_id]

    @cached_property
    def _steps(self) -> dict[str, list[Step]]:
        """The steps by volume. Found once: every volume of a large group asks for its own."""
        found: dict[str, list[Step]] = {volume_id: [] for volume_id in self.volumes}
        for part in self.flow:
            if isinstance(part, linear_flow.Flow):
                for step in part:
                    if isinstance(step, Step):
                        found[step.work.volume_id].append(step)
        return found

    def outline(self) -> dict[str, Any]:
        """The names of the steps as JSON can hold them, for those who look at the run later."""
        return {
            "shared": [step.name for step in self.shared],
            "volumes": {
                volume_id: [step.name for step in self.steps(volume_id)]
                for volume_id in self.volumes
            },
        }

    @property
    def all_steps(self) -> list[Step]:
        """What is shared, and the steps of all volumes."""
        return [*self.shared, *(s for volume_id in self.volumes for s in self.steps(volume_id))]


class FlowGraph:
    """Volumes and what they share.

    :param ways: make the way of each volume, by volume id
    :param shared: a temporary thing, and the volumes that need it
    :param undo: why all of it is only to be undone, if so
    """

    def __init__(
        self,
        ways: Mapping[str, VolumeFlowFactory],
        shared: Sequence[tuple[Temporary, Sequence[str]]] = (),
        *,
        undo: str | None = None,
    ) -> None:
        self._ways = dict(ways)
        self._undo = undo
        self.graph = networkx.Graph()
        self.graph.add_nodes_from(self._ways)
        for temporary, volumes in shared:
            self.graph.add_edges_from((temporary, volume_id) for volume_id in volumes)

    def components(self) -> list[Component]:
        """The components, in the order in which their first volumes were given."""
        order = {volume_id: place for place, volume_id in enumerate(self._ways)}
        found = []
        for nodes in networkx.connected_components(self.graph):
            volumes = sorted((n for n in nodes if n in order), key=order.__getitem__)
            shared = sorted((n for n in nodes if n not in order), key=lambda n: str(n.name))
            found.append(Component(volumes, shared, [self._ways[v] for v in volumes], self._undo))
        return sorted(found, key=lambda component: order[component.volumes[0]])
