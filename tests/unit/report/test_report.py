"""The page of a run, the drawing of its plan, and the timeline that both tell of."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from taskflow import states
from taskflow.persistence.models import FlowDetail, LogBook, TaskDetail
from taskflow.types.failure import Failure

from persistence import Item, ItemState, Run, RunState
from volflow.report import dot, words
from volflow.report.graph import RunGraph
from volflow.report.kinds import Kind, kind_of
from volflow.report.markup import element
from volflow.report.page import page
from volflow.report.remarks import remarks
from volflow.report.svg import svg
from volflow.report.timeline import Timeline
from volflow.results.outcome import Figures, LeftOut, Outcome, StepTime, VolumeResult

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ZERO = BEGAN.timestamp()
HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=y>&amp;\x1b[31m\x00\u202e\ud800 ]]> -->"
# Elements of HTML that have no end.
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
    """A volume of a run, as the state database keeps it."""
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
    """Reads a page strictly: what is opened is closed, and in order."""

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


# The timeline


def test_how_many_went_on_side_by_side() -> None:
    found = timeline(
        volume("a", step("snapshot", 0, 4), step("copy", 4, 10)),
        volume("b", step("snapshot", 2, 5), step("copy", 6, 12)),
        volume("c", step("copy", 30, 40)),
    )
    moments = {when - ZERO: count for when, count in found.at_once()}
    # From the snapshot of b to its copy is a second, in which nobody works on it.
    assert moments == {0: 1, 2: 2, 5: 1, 6: 2, 10: 1, 12: 0, 30: 1, 40: 0}
    assert found.most_at_once() == 2
    copies = {when - ZERO: count for when, count in found.at_once(Kind.COPY)}
    assert copies == {0: 0, 4: 1, 6: 2, 10: 1, 12: 0, 30: 1, 40: 0}


def test_the_moment_between_two_steps_is_no_pause() -> None:
    found = timeline(volume("a", step("snapshot", 0, 4), step("copy", 4.2, 10)))
    assert [(when - ZERO, count) for when, count in found.at_once()] == [(0, 1), (10, 0)]


def test_what_is_shared_counts_once_and_waiting_not_at_all() -> None:
    together = step("group snapshot", 0, 3, shared=True)
    found = timeline(
        volume("a", together, step("wait for others", 3, 3.1), step("copy", 3.1, 10)),
        volume("b", together, step("wait for others", 3, 50), step("copy", 50, 60)),
    )
    assert found.most_at_once() == 1
    spent = {one.name: (round(one.seconds, 1), one.count) for one in found.spent()}
    assert spent == {"copy": (16.9, 2), "group snapshot": (3.0, 1)}
    assert [round(row.worked, 1) for row in found.rows] == [6.9, 10.0]


def test_where_the_time_went() -> None:
    found = timeline(
        volume("a", step("snapshot", 0, 1), step("copy", 1, 9, "FAILURE")),
        volume("b", step("snapshot", 0, 5), step("snapshot", 5, 8, "REVERTED")),
    )
    told = [(one.name, one.seconds, one.count, one.longest) for one in found.spent()]
    assert told == [
        ("copy", 8.0, 1, (8.0, "a")),
        ("snapshot", 6.0, 2, (5.0, "b")),
        ("undo snapshot", 3.0, 1, (3.0, "b")),
    ]


def test_a_step_under_way_lasts_until_now() -> None:
    under_way = step("copy", 10, 10, "RUNNING")
    found = timeline(volume("a", under_way, state=ItemState.RUNNING), seconds=25)
    assert found.rows[0].ended == ZERO + 25
    # Of a volume that has ended, it is that of a process that was killed: nobody knows its end.
    assert timeline(volume("a", under_way)).rows[0].steps == []


def test_a_clock_that_is_off() -> None:
    """A run that was resumed on another host may have steps from before it began."""
    found = timeline(volume("a", step("copy", -5, 120)), seconds=100)
    assert (found.began, found.ended) == (ZERO - 5, ZERO + 120)


def test_nothing_has_begun() -> None:
    found = timeline(volume("a", state=ItemState.PENDING), seconds=0)
    assert (found.most_at_once(), found.spent()) == (0, [])
    assert found.seconds > 0


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("copy", Kind.COPY),
        ("group snapshot", Kind.SNAPSHOT),
        ("temporary volume", Kind.VOLUME),
        ("attachment", Kind.ATTACH),
        ("mount", Kind.ATTACH),
        ("unmount", Kind.CLEAN),
        ("remove temporary volume", Kind.CLEAN),
        ("wait for others", Kind.WAIT),
        ("what comes in a later release", Kind.OTHER),
    ],
)
def test_kinds(step: str, kind: Kind) -> None:
    assert kind_of(step) is kind


# Words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0042, "4 ms"),
        (0.5, "0.5 s"),
        (59.96, "1 min 00 s"),
        (3599.7, "1 h 00 min"),
        (90, "1 min 30 s"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_plurals() -> None:
    assert [words.plural(count, "volume") for count in (0, 1, 1200)] == [
        "0 volumes",
        "1 volume",
        "1,200 volumes",
    ]


# Remarks


def test_remarks() -> None:
    failed = VolumeResult(
        "v",
        "",
        Outcome.FAILED,
        error="No room.",
        steps=(step("snapshot", 0, 1), step("copy", 1, 2, "FAILURE")),
        leftovers=("snapshot s: busy",),
    )
    assert remarks(failed) == [
        "failed at 'copy': No room.",
        "left over: snapshot s: busy",
        "'volflow leftover clean' removes what is left over.",
    ]
    late = VolumeResult("v", "", Outcome.PARTIAL, error="No answer.", unread=("/a",))
    assert remarks(late) == ["is done, but: No answer.", "could not be read: /a"]
    differs = {"name": "metadata", "was": {"a": "é"}, "now": None, "why": "refused"}
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE, differences=(differs,))) == [
        'differs: metadata was {"a": "é"} and is null: refused'
    ]
    assert remarks(VolumeResult("v", "", Outcome.COMPLETE)) == []


# The page


def several(count: int) -> list[Item]:
    """Volumes of which each tenth fails and each seventh is partial."""
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


@pytest.mark.parametrize("count", [0, 1, 10, 100])
def test_a_page_is_whole(count: int) -> None:
    items = several(count)
    state = RunState.FAILED if count > 9 else RunState.COMPLETE
    text = page(run(state, count * 2), items, driven=False)
    found = Reader(text)
    for item in items:
        assert item.name in found.words
        assert item.key in found.words
    plural = "" if count == 1 else "s"
    assert f"Backup of {count} volume{plural}" in found.words
    assert found.words.count("Cinder said no") == count // 10
    # Nothing is fetched, and nothing runs.
    assert not found.tags & {"script", "link", "img", "iframe", "object", "base", "form", "a"}
    attributes = dict(found.attributes)
    assert not [name for name in attributes if name in ("src", "href") or name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes


def test_the_totals_of_a_page() -> None:
    found = Reader(page(run(RunState.FAILED, 120), several(10), driven=False)).words
    assert "1 failed" in found
    assert "8 complete" in found
    assert "1 partial" in found
    # Nine volumes with 100 files each, 10 MB of them, 3 MB read and 1 MB stored.
    assert "Files 900 27 new or changed" in found.replace("Files900", "Files 900 ")
    assert "90.0 MB" in found
    assert "27.0 MB read" in found
    assert "9.0 MB" in found
    assert "failed at 'copy': Cinder said no to 9." in found


def test_what_is_left_out_and_the_groups_stand_on_the_page() -> None:
    left_out = [
        asdict(LeftOut("i1", "broken", "is in state 'error'", True)),
        asdict(LeftOut("i2", "scratch", "is excluded", False)),
    ]
    request = {
        "left_out": left_out,
        "groups": {"g1": ["a", "b"]},
        "consistent": {"g1": True, "g2": False, "g3": None},
    }
    found = Reader(page(run(**request), [volume("a"), volume("b")], driven=False)).words
    assert "To look at broken" in found.replace("To look atbroken", "To look at broken")
    assert found.count("is in state 'error'") == 2
    assert found.count("is excluded") == 1
    assert "g12its volumes were snapshotted at one moment" in found
    assert "g2not allits volumes were snapshotted one by one" in found
    assert "g3not allwhether its volumes were snapshotted at one moment is not known" in found


def test_the_notes_of_a_restore_stand_on_the_page() -> None:
    note = "group g4: its volumes are not of one moment"
    restore = replace(run(notes=[note]), kind="restore")
    assert note in Reader(page(restore, [volume("a")], driven=False)).words


def test_a_run_under_way_and_one_that_was_killed() -> None:
    items = [
        volume("a", step("copy", 1, 9)),
        volume("b", step("copy", 5, 5, "RUNNING"), state=ItemState.RUNNING),
        volume("c", state=ItemState.PENDING),
    ]
    now = BEGAN + timedelta(hours=1)
    alive = Reader(page(run(RunState.RUNNING, 30), items, driven=True, now=now)).words
    assert "▶running" in alive
    assert "1 h 00 min" in alive
    assert "1 waiting" in alive
    dead = Reader(page(run(RunState.RUNNING, 30), items, driven=False, now=now)).words
    assert "‖interrupted" in dead
    assert "1 interrupted" in dead
    assert "30.0 s" in dead
    assert "1 h 00 min" not in dead


def test_a_restore() -> None:
    restored = volume("a", step("copy", 1, 9), target_id="new-volume", backup_id="b" * 64)
    found = Reader(page(run(kind="restore"), [restored], driven=False)).words
    assert "Restore of 1 volume" in found
    assert "new-volume" in found
    assert "Restored to" in found


def test_very_many_remarks_do_not_make_the_page_endless() -> None:
    unread = tuple(f"/file {number}" for number in range(1000))
    torn = volume("a", state=ItemState.PARTIAL, unread=unread)
    found = Reader(page(run(RunState.PARTIAL), [torn], driven=False)).words
    assert "/file 49" in found
    assert "/file 50" not in found
    assert "and 950 more" in found


def test_nothing_that_comes_from_outside_is_markup() -> None:
    item = volume(
        HOSTILE,
        step(HOSTILE, 0, 1, "FAILURE"),
        name=HOSTILE,
        state=ItemState.FAILED,
        error=HOSTILE,
        unread=(HOSTILE,),
        leftovers=(HOSTILE,),
        backup_id=HOSTILE,
    )
    left_out = [asdict(LeftOut(HOSTILE, HOSTILE, HOSTILE, True))]
    request = {"repository": HOSTILE, "left_out": left_out, "consistent": {HOSTILE: True}}
    text = page(run(RunState.FAILED, **request), [item], driven=False)
    found = Reader(text)
    assert not found.tags & {"script", "img"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
    text.encode("utf-8")
    # It is all there, and shown for what it is.
    assert r"<script>alert(1)</script><img src=x onerror=y>&amp;\x1b[31m\x00\u202e" in found.words


def test_markup_is_made_of_text() -> None:
    made = element("p", "a < b & c", element("b", "d"), ["e", None], title='"', class_=None)
    assert made == '<p title="&quot;">a &lt; b &amp; c<b>d</b>e</p>'


# The drawing


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


def hostile_graph() -> RunGraph:
    item = in_flow(volume(HOSTILE, state=ItemState.FAILED), "a")
    failed = atom(f"{HOSTILE}:two", states.REVERTED, error=HOSTILE + '\\"\n')
    made = LogBook("run", "book")
    flow = FlowDetail("a", "a")
    flow.meta = {"shared": ["g:group snapshot"], "volumes": {HOSTILE: [failed.name]}}
    flow.add(failed)
    made.add(flow)
    return RunGraph.of(run(RunState.FAILED), [item], made, driven=False)


def test_the_drawing_is_xml_and_nothing_else() -> None:
    drawn = ElementTree.fromstring(svg(hostile_graph()))
    names = {part.tag.rpartition("}")[2] for part in drawn.iter()}
    assert names <= {"svg", "title", "style", "g", "rect", "text", "tspan", "path"}
    assert not [key for part in drawn.iter() for key in part.attrib if key.startswith("on")]
    titles = [part.text or "" for part in drawn.iter() if part.tag.endswith("title")]
    assert any(r"\x1b[31m\x00\u202e" in title for title in titles)


def test_the_drawing_tells_all() -> None:
    items = [
        in_flow(volume("a", state=ItemState.COMPLETE), "a"),
        in_flow(volume("b", state=ItemState.RUNNING), "b"),
    ]
    shared = atom("g:group snapshot", states.SUCCESS)
    flows = {
        "a": [shared, atom("a:copy", states.SUCCESS)],
        "b": [atom("b:a step with quite a long name", states.RUNNING)],
    }
    drawn = ElementTree.fromstring(svg(graph(items, flows)))
    told = [" ".join(part.itertext()) for part in drawn.iter() if part.tag.endswith("text")]
    assert "group snapshot" in told
    assert "copy" in told
    assert told.count("✓ done") == 2
    assert "▶ running" in told
    boxes = [part.attrib for part in drawn.iter() if part.tag.endswith("rect")]
    assert len(boxes) == 4, "three tasks, and the frame of the group"
    width, height = float(drawn.attrib["width"]), float(drawn.attrib["height"])
    for box in boxes:
        assert float(box["x"]) + float(box["width"]) <= width
        assert float(box["y"]) + float(box["height"]) <= height


def test_the_graph_for_graphviz() -> None:
    text = dot.dot(hostile_graph())
    # Each quote that does not end a string has a backslash before it.
    quoted = re.compile(r'"(?:[^"\\]|\\.)*"')
    bare = quoted.sub("", text)
    assert '"' not in bare
    assert "script" not in bare
    assert bare.count("{") == bare.count("}")
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e\ud800]", text)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_takes_it() -> None:
    done = subprocess.run(
        ["dot", "-Tsvg"],
        input=dot.dot(hostile_graph()),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "alert(1)" in done.stdout
