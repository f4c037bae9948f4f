"""Remarks on a volume besides its figures: errors, unread files, leftovers, differences."""

from __future__ import annotations

import json
from typing import Any

from taskflow import states

from volflow.report.words import plural
from volflow.results.outcome import Outcome, VolumeResult


def remarks(volume: VolumeResult) -> list[str]:
    """One line for the error, each unread file, leftover, remark and property that differs."""
    # A stored backup or restored data counts, whatever happened afterwards.
    how = _failed(volume) if volume.outcome is Outcome.FAILED else "is done, but"
    lines = [f"{how}: {volume.error}"] if volume.error else []
    # A restore cannot restore files that the backup does not contain.
    when = "could not be read when it was backed up" if volume.target_id else "could not be read"
    lines += [f"{when}: {path}" for path in volume.unread]
    if volume.kept:
        lines.append(f"kept {plural(volume.kept, 'existing file')} instead of the backup's")
    lines += [f"left over: {leftover}" for leftover in volume.leftovers]
    if volume.leftovers:
        lines.append("'volflow leftover clean' removes what is left over.")
    lines += volume.remarks
    lines += [_difference(**difference) for difference in volume.differences]
    if volume.not_removed:
        lines.append(f"not removed: {volume.not_removed}")
    if volume.removed:
        lines.append("the old volume was removed")
    return lines


def _failed(volume: VolumeResult) -> str:
    step = next((step.name for step in volume.steps if step.state == states.FAILURE), None)
    return f"failed at '{step}'" if step else "failed"


def _difference(name: str, was: Any, now: Any, why: str) -> str:
    shown = (json.dumps(value, ensure_ascii=False, default=str) for value in (was, now))
    return "differs: {} was {} and is {}: {}".format(name, *shown, why)
