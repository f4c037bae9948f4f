"""The progress that the command line shows during a run."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from volflow.cli.progress import Lines
from volflow.cli.screen import Screen
from volflow.observers.progress import NullObserver, Observers
from volflow.results.outcome import CopyProgress, Outcome, VolumeResult

HOSTILE = "[bold]x[/nonsense] \x1b[31m\n"


def test_each_step_and_each_outcome_is_one_printable_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines()
    lines.planned("the-run", {"v": HOSTILE, "w": ""})
    lines.step("v", "snapshot", "RUNNING")
    lines.step("v", "snapshot", "SUCCESS")
    lines.step("w", "snapshot", "REVERTING")
    lines.ended(VolumeResult("v", HOSTILE, Outcome.PARTIAL))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line[9:] for line in err.splitlines()] == [
        "run the-run: 2 volumes",
        r"[bold]x[/nonsense] \x1b[31m\n: snapshot",
        "w: undoing snapshot",
        r"[bold]x[/nonsense] \x1b[31m\n: partial",
    ]


def test_no_run_is_named_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.planned("", {"v": "one"})
    lines.step("v", "copy", "RUNNING")
    assert [line[9:] for line in capsys.readouterr().err.splitlines()] == ["one: copy"]


def drawn(screen: Screen, width: int = 100) -> str:
    """What the table looks like now."""
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(screen._shown())
    return stream.getvalue()


@pytest.fixture
def screen() -> Screen:
    return Screen(Console(file=io.StringIO(), force_terminal=False))


def test_the_screen_counts_outcomes_and_shows_volumes_in_progress(screen: Screen) -> None:
    screen.planned("the-run", {f"v{number}": f"name {number}" for number in range(1000)})
    try:
        for number in range(12):
            screen.step(f"v{number}", "snapshot", "RUNNING")
        screen.step("v10", "snapshot", "REVERTING")
        screen.copied("v11", CopyProgress(3, 10, 1_000_000, 4_000_000))
        for number in range(10):
            screen.ended(VolumeResult(f"v{number}", "", Outcome.COMPLETE))
        text = drawn(screen)
    finally:
        screen.over("the-run", None)
    assert "run the-run: 1,000 volumes" in text
    assert "10 complete, 988 waiting" in text
    # The running steps fit on a screen, however many volumes the run has.
    assert len(text.splitlines()) < 12
    assert re.search(r"name 10\W+undoing snapshot", text)
    assert "3 of 10 files, 1.0 MB of 4.0 MB" in text


def test_a_copy_that_starts_again_has_a_new_rate(screen: Screen) -> None:
    screen.planned("the-run", {"v": "one"})
    try:
        screen.step("v", "copy", "RUNNING")
        screen.copied("v", CopyProgress(3, 3, 4_000_000, 4_000_000))
        screen.step("v", "verify", "RUNNING")
        screen.copied("v", CopyProgress(1, 3, 1_000_000, 4_000_000))
        screen._volumes["v"].copied_at += 1
        text = drawn(screen)
    finally:
        screen.over("the-run", None)
    assert re.search(r"verify\W+1 of 3 files, 1.0 MB of 4.0 MB, 0 bytes/s", text)


def test_a_name_is_not_taken_for_markup(screen: Screen) -> None:
    screen.planned("the-run", {"v": HOSTILE})
    try:
        screen.step("v", "copy", "RUNNING")
        text = drawn(screen)
    finally:
        screen.over("the-run", None)
    assert r"[bold]x[/nonsense] \x1b[31m\n" in text
    assert "\x1b" not in text


class Broken(NullObserver):
    """An observer that raises an error."""

    def step(self, volume_id: str, step: str, state: str) -> None:
        raise RuntimeError("deaf")


def test_an_observer_that_fails_does_not_stop_the_others(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    several = Observers([Broken(), Lines()])
    several.planned("r", {"v": "one"})
    several.step("v", "copy", "RUNNING")
    assert "one: copy" in capsys.readouterr().err
    assert "Broken failed on an event of the run" in caplog.text
