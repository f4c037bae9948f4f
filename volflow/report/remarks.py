"""Remarks on a volume besides its figures: errors, unread files, leftovers, differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from taskflow import states

from volflow.printable import bounded, printable
from volflow.report.words import plural
from volflow.results.outcome import Outcome, VolumeResult

# Characters of a path to show.
_LONGEST = 300
# Characters of a line. JSON has the whole text.
_LONGEST_LINE = 1000
# The number of unreadable files to name. There can be as many as the volume has files.
_NAMED = 20


def remarks(volume: VolumeResult) -> list[str]:
    """One line for the error, each unread file, leftover, remark and property that differs."""
    # A stored backup or restored data counts, whatever happened afterwards.
    how = _failed(volume) if volume.outcome is Outcome.FAILED else "is done, but"
    lines = [f"{how}: {volume.error}"] if volume.error else []
    # A restore cannot restore files that the backup does not contain.
    when = "could not be read when it was backed up" if volume.target_id else "could not be read"
    lines += cut([f"{when}: {shown_path(path)}" for path in volume.unread], volume.backup_id or "")
    if volume.kept:
        lines.append(f"kept {plural(volume.kept, 'existing file')} instead of the backup's")
    lines += [f"left over: {leftover}" for leftover in volume.leftovers]
    if volume.leftovers:
        lines.append(
            "'volflow leftover clean' removes the leftovers, or says what to decide first."
        )
    lines += volume.remarks
    lines += [_difference(**difference) for difference in volume.differences]
    if volume.not_removed:
        lines.append(f"not removed: {volume.not_removed}")
    if volume.removed:
        lines.append("the old volume was removed")
    return [bounded(line, _LONGEST_LINE) for line in lines]


def shown_path(unread: str) -> str:
    """The path of what could not be read, for people: of a limited length, a directory as such."""
    path = bounded(printable(unread), _LONGEST)
    if not unread.endswith("/"):
        return path
    return f"{path.rstrip('/') or '/'} (a directory, with everything in it)"


def counted(unread: Sequence[str]) -> str:
    """How many directories and files could not be read."""
    many = sum(path.endswith("/") for path in unread)
    parts = []
    if many:
        words = "directory with everything in it", "directories with everything in them"
        parts.append(f"{many:,} {words[many > 1]}")
    if len(unread) > many or not many:
        parts.append(plural(len(unread) - many, "file"))
    return " and ".join(parts)


def cut(lines: Sequence[str], backup_id: str) -> list[str]:
    """The first lines of those that name unreadable files, and how to see the others."""
    more = len(lines) - _NAMED
    if more <= 0:
        return list(lines)
    how = f"'volflow backup show {backup_id[:8]} -f json' lists all"
    return [*lines[:_NAMED], f"and {more:,} more; {how}"]


def _failed(volume: VolumeResult) -> str:
    step = next((step.name for step in volume.steps if step.state == states.FAILURE), None)
    return f"failed at '{step}'" if step else "failed"


def _difference(name: str, was: Any, now: Any, why: str) -> str:
    shown = (json.dumps(value, ensure_ascii=False, default=str) for value in (was, now))
    return "differs: {} was {} and is {}: {}".format(name, *shown, why)
