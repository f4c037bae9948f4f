"""Runs, volumes and logbooks for the tests of reports, and a reader of their pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from taskflow import states
from taskflow.persistence.models import FlowDetail, LogBook, TaskDetail
from taskflow.types.failure import Failure

from persistence import Item, ItemState, Run, RunState
from volflow.report.graph import RunGraph
from volflow.report.timeline import Timeline
from volflow.results.outcome import Figures, Outcome, StepTime, VolumeResult

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ZERO = BEGAN.timestamp()
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=y>&amp;\x1b[31m\x00\u202e\ud800 ]]> -->"
# HTML elements without an end tag.
VOID = {"meta"}


def step(name: str, begin: float, end: float, state: str = "SUCCESS", **more: Any) -> StepTime:
    return StepTime(name, state, ZERO + begin, end - begin, **more)


def volume(
    key: str,
    *steps: StepTime,
    name: str | None = None,
    state: ItemState = ItemState.COMPLETE,
    position: int = 0,
    **result: Any,
) -> Item:
    """A volume of a run, as the state database stores it."""
    name = key if name is None else name
    kept: dict[str, Any] = {"steps": [asdict(one) for one in steps]}
    if state.final:
        outcome = Outcome.FAILED if state is ItemState.ABORTED else Outcome[state.name]
        kept = VolumeResult(key, name, outcome, steps=steps, **result).to_dict()
    return Item(
        run_id="run",
        key=key,
        name=name,
        state=state,
        flow_id=None,
        step=None,
        result=kept,
        error=kept.get("error"),
        started_at=None,
        finished_at=None,
        position=position,
    )


def run(state: RunState = RunState.COMPLETE, seconds: float = 100.0, **request: Any) -> Run:
    ended = BEGAN + timedelta(seconds=seconds)
    return Run(
        id="11111111-2222-3333-4444-555555555555",
        kind=request.pop("kind", "backup"),
        state=state,
        request={"parallel": 4, "repository": "/r", **request},
        host="host",
        boot_id="boot",
        pid=1,
        created_at=BEGAN,
        updated_at=ended,
        finished_at=ended if state.final else None,
        logbook_id=None,
        stop=None,
    )


def timeline(*items: Item, seconds: float = 100.0, driven: bool = True) -> Timeline:
    return Timeline.of(items, driven=driven, began=ZERO, now=ZERO + seconds)


class Reader(HTMLParser):
    """Reads a page strictly: elements must be closed, and in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def several(count: int) -> list[Item]:
    """Volumes; each tenth fails and each seventh is partial."""
    found = []
    for number in range(count):
        begin = number // 10 * 12.0
        steps = [step("snapshot", begin, begin + 1), step("copy", begin + 1, begin + 10)]
        more: dict[str, Any] = {
            "backup_id": f"{number:064x}",
            "figures": Figures(2, 1, 97, 10_000_000, 3_000_000, 1_000_000),
        }
        if number % 10 == 9:
            steps[1] = step("copy", begin + 1, begin + 3, "FAILURE")
            steps.append(step("snapshot", begin + 3, begin + 4, "REVERTED"))
            more = {"state": ItemState.FAILED, "error": f"Cinder said no to {number}."}
        elif number % 7 == 6:
            more |= {"state": ItemState.PARTIAL, "unread": ("/a", "/b")}
        found.append(volume(f"id-{number}", *steps, name=f"n{number}", position=number, **more))
    return found


def book(flows: dict[str, Sequence[TaskDetail]]) -> LogBook:
    made = LogBook("run", "book")
    for key, atoms in flows.items():
        flow = FlowDetail(key, key)
        flow.meta = {
            "shared": [atom.name for atom in atoms if atom.name.startswith("g:")],
            "volumes": {key: [atom.name for atom in atoms if atom.name.startswith(f"{key}:")]},
        }
        for atom in atoms:
            if atom.state is not None:
                flow.add(atom)
        made.add(flow)
    return made


def atom(name: str, state: str | None, error: str | None = None) -> TaskDetail:
    made = TaskDetail(name, f"uuid of {name}")
    made.state = state
    if error is not None:
        try:
            raise RuntimeError(error)
        except RuntimeError:
            made.failure = Failure()
    return made


def in_flow(item: Item, flow: str) -> Item:
    return Item(**{**asdict(item), "flow_id": flow, "state": item.state})


def graph(items: Iterable[Item], flows: dict[str, Sequence[TaskDetail]], **more: Any) -> RunGraph:
    state = more.pop("state", RunState.RUNNING)
    return RunGraph.of(run(state), list(items), book(flows), **{"driven": True, **more})


def looks(found: RunGraph) -> dict[str, str]:
    return {
        node.name: node.look.title
        for group in found.groups
        for node in [*group.shared, *(node for lane in group.lanes for node in lane.nodes)]
    }


def hostile_graph() -> RunGraph:
    item = in_flow(volume(HOSTILE, state=ItemState.FAILED), "a")
    failed = atom(f"{HOSTILE}:two", states.REVERTED, error=HOSTILE + '\\"\n')
    made = LogBook("run", "book")
    flow = FlowDetail("a", "a")
    flow.meta = {"shared": ["g:group snapshot"], "volumes": {HOSTILE: [failed.name]}}
    flow.add(failed)
    made.add(flow)
    return RunGraph.of(run(RunState.FAILED), [item], made, driven=False)
