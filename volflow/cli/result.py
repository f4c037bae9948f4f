"""The result of a run as a table for people, and in full for programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from volflow.cli import columns
from volflow.cli.command import Lister
from volflow.result import Outcome, RunResult, VolumeResult

Table = tuple[Sequence[str], Iterable[Any]]


class ResultLister(Lister):
    """A command that ends with the result of a run, and with its outcome as the exit status."""

    def show(self, parsed_args: argparse.Namespace, result: RunResult) -> Table:
        self.status = result.outcome.exit_status
        if parsed_args.formatter != "table":
            return _full(result)
        _tell(result)
        return _backup(result) if result.kind == "backup" else _restore(result)


def _backup(result: RunResult) -> Table:
    names = ("Name", "Volume", "Outcome", "Backup", "Files", "Read", "Size", "New data", "Time")
    return names, [
        (
            volume.name,
            volume.volume_id,
            str(volume.outcome),
            columns.ShortId(volume.backup_id or ""),
            volume.figures.files_total,
            volume.figures.files_read,
            columns.Bytes(volume.figures.bytes_total),
            columns.Bytes(volume.figures.bytes_stored),
            columns.Seconds(volume.seconds),
        )
        for volume in result.volumes
    ]


def _restore(result: RunResult) -> Table:
    return ("Name", "Volume", "Backup", "Outcome", "Restored to", "Time"), [
        (
            volume.name,
            volume.volume_id,
            columns.ShortId(volume.backup_id or ""),
            str(volume.outcome),
            volume.target_id or "-",
            columns.Seconds(volume.seconds),
        )
        for volume in result.volumes
    ]


def _full(result: RunResult) -> Table:
    rows = [{"run_id": result.run_id, **volume.to_dict()} for volume in result.volumes]
    for row in rows:
        row.update(row.pop("figures"))
    names = list(rows[0]) if rows else []
    return names, [list(row.values()) for row in rows]


def _tell(result: RunResult) -> None:
    """What does not fit in a table goes to the standard error, a line each."""
    for volume in result.volumes:
        for line in _troubles(volume):
            print(f"{volume.name or volume.volume_id}: {line}", file=sys.stderr)


def _troubles(volume: VolumeResult) -> list[str]:
    lines = [f"failed: {volume.error}"] if volume.outcome is Outcome.FAILED else []
    lines += [f"could not be read: {path}" for path in volume.unread]
    lines += [f"left over: {leftover}" for leftover in volume.leftovers]
    if volume.leftovers:
        lines.append("'volflow leftover list' shows what is left over.")
    return lines
