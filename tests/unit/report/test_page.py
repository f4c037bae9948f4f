"""The page of a run is complete, with any names and any number of volumes."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from datetime import timedelta

import pytest

from persistence import ItemState, RunState
from tests.support.reports import (
    BEGAN,
    HOSTILE,
    Reader,
    run,
    several,
    step,
    volume,
)
from volflow.report.page import page
from volflow.results.outcome import LeftOut


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
    # The page loads nothing and runs no script.
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
    # Nine volumes, each with 100 files and 10 MB, of which 3 MB were read and 1 MB stored.
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


def test_the_page_of_a_restore_names_the_new_volume() -> None:
    restored = volume("a", step("copy", 1, 9), target_id="new-volume", backup_id="b" * 64)
    found = Reader(page(run(kind="restore"), [restored], driven=False)).words
    assert "Restore of 1 volume" in found
    assert "new-volume" in found
    assert "Restored to" in found


def test_very_many_remarks_do_not_make_the_page_endless() -> None:
    unread = tuple(f"/file {number}" for number in range(1000))
    torn = volume("a", state=ItemState.PARTIAL, unread=unread)
    found = Reader(page(run(RunState.PARTIAL), [torn], driven=False)).words
    assert "/file 19" in found
    assert "/file 20" not in found
    assert "and 980 more" in found


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
    # The whole name is shown, escaped.
    assert r"<script>alert(1)</script><img src=x onerror=y>&amp;\x1b[31m\x00\u202e" in found.words
