"""The graph of a run's tasks, with the state of each as TaskFlow has stored it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from taskflow import states
from taskflow.persistence.models import AtomDetail, FlowDetail, LogBook

from persistence import Item, Run
from volflow.flows.volume import retry_name
from volflow.report.kinds import (
    FAILED_AND_UNDONE,
    INTERRUPTED,
    NOT_DONE,
    Look,
    look_of,
    outcome_look,
)


@dataclass(frozen=True)
class Node:
    """One task.

    :ivar name: its name, unique in the run
    :ivar step: the name of its step
    :ivar error: its error message, if it failed
    """

    name: str
    step: str
    look: Look
    error: str | None = None


@dataclass(frozen=True)
class Lane:
    """The tasks of one volume, in order."""

    item: Item
    look: Look
    nodes: Sequence[Node]

    @property
    def title(self) -> str:
        return self.item.name or self.item.key


@dataclass(frozen=True)
class Group:
    """Volumes that run as one flow. The tasks that they share run first."""

    shared: Sequence[Node]
    lanes: Sequence[Lane]


@dataclass(frozen=True)
class RunGraph:
    """All tasks of a run."""

    run: Run
    look: Look
    groups: Sequence[Group]

    @classmethod
    def of(cls, run: Run, items: Sequence[Item], book: LogBook | None, *, driven: bool) -> RunGraph:
        """
        :param book: TaskFlow's logbook of the run; None if it does not exist yet
        :param driven: whether a process works on it
        """
        flows: dict[str | None, FlowDetail] = {flow.uuid: flow for flow in book or ()}
        together: dict[str | None, list[Item]] = {}
        for item in items:
            # Without a logbook, no volumes share tasks yet.
            together.setdefault(item.flow_id or item.key, []).append(item)
        return cls(
            run,
            outcome_look(run, driven=driven),
            [_group(flows.get(flow_id), part, driven) for flow_id, part in together.items()],
        )


def _group(flow: FlowDetail | None, items: Sequence[Item], driven: bool) -> Group:
    atoms: dict[str, AtomDetail] = {atom.name: atom for atom in flow or ()}
    outline: Mapping[str, object] = (flow.meta if flow is not None else None) or {}
    volumes = outline.get("volumes")

    def nodes(names: Iterable[str], over: bool) -> list[Node]:
        return [_node(name, atoms.get(name), driven, over) for name in names]

    lanes = []
    for item in items:
        names = _names(volumes.get(item.key)) if isinstance(volumes, Mapping) else []
        if not names:
            names = [
                name
                for name in atoms
                if name.startswith(f"{item.key}:") and name != retry_name(item.key)
            ]
        look = outcome_look(item, driven=driven)
        lanes.append(Lane(item, look, nodes(names, item.state.final)))
    over = all(item.state.final for item in items)
    return Group(nodes(_names(outline.get("shared")), over), lanes)


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, Iterable) else []


def _node(name: str, atom: AtomDetail | None, driven: bool, over: bool) -> Node:
    step, state = name.partition(":")[2], states.PENDING if atom is None else atom.state
    look, error = look_of(state), None
    if state == states.PENDING and over:
        look = NOT_DONE
    elif state in (states.RUNNING, states.REVERTING) and not driven:
        look = INTERRUPTED
    if atom is not None and atom.failure is not None:
        error = atom.failure.exception_str
        if state == states.REVERTED:
            look = FAILED_AND_UNDONE
    return Node(name, step, look, error)
