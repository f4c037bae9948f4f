"""The plan of a run with the state of each task, as TaskFlow has kept it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taskflow import states
from taskflow.persistence.models import AtomDetail, FlowDetail, LogBook

from persistence import Item, Run
from volflow.flows.volume import retry_name
from volflow.report.kinds import FAILED_AND_UNDONE, INTERRUPTED, Look, look_of


@dataclass(frozen=True)
class Node:
    """One task.

    :ivar name: its name, unique in the run
    :ivar step: what it does
    :ivar error: what it said when it failed
    """

    name: str
    step: str
    look: Look
    error: str | None = None


@dataclass(frozen=True)
class Lane:
    """One volume's tasks, in their order."""

    item: Item
    nodes: Sequence[Node]

    @property
    def title(self) -> str:
        return self.item.name or self.item.key


@dataclass(frozen=True)
class Group:
    """Volumes that run as one flow, and the tasks that they share, which come first."""

    shared: Sequence[Node]
    lanes: Sequence[Lane]


@dataclass(frozen=True)
class RunGraph:
    """All tasks of a run."""

    run: Run
    groups: Sequence[Group]

    @classmethod
    def of(cls, run: Run, items: Sequence[Item], book: LogBook | None, *, driven: bool) -> RunGraph:
        """
        :param book: TaskFlow's logbook of the run; None before there is one
        :param driven: whether a process works on it
        """
        flows: dict[str | None, FlowDetail] = {flow.uuid: flow for flow in book or ()}
        together: dict[str | None, list[Item]] = {}
        for item in items:
            # Before there is a logbook, nobody shares anything.
            together.setdefault(item.flow_id or item.key, []).append(item)
        return cls(
            run,
            [_group(flows.get(flow_id), part, driven) for flow_id, part in together.items()],
        )


def _group(flow: FlowDetail | None, items: Sequence[Item], driven: bool) -> Group:
    atoms: dict[str, AtomDetail] = {atom.name: atom for atom in flow or ()}
    outline: Mapping[str, object] = (flow.meta if flow is not None else None) or {}
    shared = _names(outline.get("shared"))
    volumes = outline.get("volumes")
    lanes = []
    for item in items:
        names = _names(volumes.get(item.key)) if isinstance(volumes, Mapping) else []
        if not names:
            names = [
                name
                for name in atoms
                if name.startswith(f"{item.key}:") and name != retry_name(item.key)
            ]
        lanes.append(Lane(item, [_node(name, atoms.get(name), driven) for name in names]))
    return Group([_node(name, atoms.get(name), driven) for name in shared], lanes)


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, Iterable) else []


def _node(name: str, atom: AtomDetail | None, driven: bool) -> Node:
    step = name.partition(":")[2]
    if atom is None:
        return Node(name, step, look_of(states.PENDING))
    look = look_of(atom.state)
    error = None
    if atom.failure is not None:
        error = atom.failure.exception_str
        if atom.state == states.REVERTED:
            look = FAILED_AND_UNDONE
    if atom.state in (states.RUNNING, states.REVERTING) and not driven:
        look = INTERRUPTED
    return Node(name, step, look, error)
