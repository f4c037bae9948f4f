"""Kinds of steps and kinds of states, each with a colour and a label."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from taskflow import states

from persistence import Item, Run
from volflow.results import stored


class Kind(StrEnum):
    """What a step spends its time on. The value names its colour in style sheets."""

    COPY = "copy"
    SNAPSHOT = "snapshot"
    VOLUME = "volume"
    ATTACH = "attach"
    CLEAN = "clean"
    OTHER = "other"
    WAIT = "wait"

    @property
    def label(self) -> str:
        return _TITLES[self]


_TITLES = {
    Kind.COPY: "copy",
    Kind.SNAPSHOT: "snapshot",
    Kind.VOLUME: "volume",
    Kind.ATTACH: "attach and mount",
    Kind.CLEAN: "clean up",
    Kind.OTHER: "all else",
    Kind.WAIT: "wait for others",
}

# The first word that is in the name of a step decides. All other steps are "all else".
_WORDS = (
    ("wait", Kind.WAIT),
    ("copy", Kind.COPY),
    ("remove", Kind.CLEAN),
    ("unmount", Kind.CLEAN),
    ("flush", Kind.CLEAN),
    ("keep", Kind.CLEAN),
    ("detach", Kind.CLEAN),
    ("snapshot", Kind.SNAPSHOT),
    ("attach", Kind.ATTACH),
    ("device", Kind.ATTACH),
    ("mount", Kind.ATTACH),
    ("file system", Kind.ATTACH),
    ("probe", Kind.ATTACH),
    ("volume", Kind.VOLUME),
    ("clone", Kind.VOLUME),
)


def kind_of(step: str) -> Kind:
    """The kind of a step, by its name."""
    return next((kind for word, kind in _WORDS if word in step), Kind.OTHER)


@dataclass(frozen=True)
class Look:
    """How a state is shown.

    :ivar key: names its colour in style sheets
    :ivar mark: a character that shows the state without colour
    """

    key: str
    mark: str
    title: str


_LOOKS = {
    states.PENDING: Look("waiting", "\u00b7", "waiting"),
    states.RUNNING: Look("running", "\u25b6", "running"),
    states.SUCCESS: Look("done", "\u2713", "done"),
    states.FAILURE: Look("failed", "\u2717", "failed"),
    states.REVERTING: Look("undoing", "\u21ba", "being undone"),
    states.REVERTED: Look("undone", "\u21b6", "undone"),
    states.REVERT_FAILURE: Look("failed", "\u2717", "could not be undone"),
    states.IGNORE: Look("waiting", "\u2013", "left out"),
}
INTERRUPTED = Look("interrupted", "\u2016", stored.INTERRUPTED)
NOT_DONE = Look("waiting", "\u2013", "not done")
FAILED_AND_UNDONE = Look("failed", "\u2717", "failed, undone")


def look_of(state: str) -> Look:
    """How a state of TaskFlow is shown."""
    return _LOOKS.get(state, Look("waiting", "?", state.lower()))


_OUTCOMES = {
    "complete": Look("done", "\u2713", "complete"),
    "partial": Look("partial", "\u25d0", "partial"),
    "failed": Look("failed", "\u2717", "failed"),
    "left out": Look("waiting", "\u2013", "left out"),
    "aborted": Look("failed", "\u21b6", "aborted"),
    "running": Look("running", "\u25b6", "running"),
    "suspended": Look("interrupted", "\u2016", "suspended"),
    "pending": Look("waiting", "\u00b7", "waiting"),
    stored.INTERRUPTED: INTERRUPTED,
    stored.HELD: Look("interrupted", "\u2016", stored.HELD),
}


def outcome_look(of: Run | Item, *, driven: bool) -> Look:
    """How the state of a run, or of a volume of it, is shown.

    :param driven: whether a process works on the run
    """
    state = stored.state(of, driven=driven)
    return _OUTCOMES.get(state, Look("waiting", "?", state))
