"""The plan of a run: which volumes share a step, and the flows that follow from it.

Volumes that share a step form one component, which runs as one graph flow; a volume that shares
nothing is a component of one. One graph over all volumes would compile in quadratic time, start
every volume at once whatever the limit, and stop all of them when one revert fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import networkx
from taskflow.patterns import graph_flow, linear_flow


class Plan:
    """Volumes and what they share.

    :param flows: the way of each volume, by volume id
    :param shared: pairs of volumes that share a step
    """

    def __init__(
        self,
        flows: Mapping[str, linear_flow.Flow],
        shared: Iterable[tuple[str, str]] = (),
    ) -> None:
        self._flows = dict(flows)
        self._graph = networkx.Graph()
        self._graph.add_nodes_from(self._flows)
        self._graph.add_edges_from(shared)

    def components(self) -> list[tuple[list[str], graph_flow.Flow]]:
        """Each component's volumes, in the order given, and the flow that works on them."""
        order = {volume_id: place for place, volume_id in enumerate(self._flows)}
        found = []
        for nodes in networkx.connected_components(self._graph):
            volumes = sorted(nodes, key=order.__getitem__)
            flow = graph_flow.Flow(" ".join(volumes))
            flow.add(*(self._flows[volume_id] for volume_id in volumes))
            found.append((volumes, flow))
        return sorted(found, key=lambda component: order[component[0][0]])
