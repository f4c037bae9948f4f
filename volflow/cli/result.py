"""The result of a run as a table for people, and in full for programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from volflow import LeftOut, RunResult, StoredBackup, VolumeResult
from volflow.cli import columns
from volflow.cli.command import Lister
from volflow.printable import printable
from volflow.report.remarks import counted, cut, remarks, shown_path
from volflow.report.words import snapshotted
from volflow.results.outcome import worst

Table = tuple[Sequence[str], Iterable[Any]]


def show(command: Lister, parsed_args: argparse.Namespace, results: Sequence[RunResult]) -> Table:
    """Return the table of results; the worst outcome becomes the command's exit status."""
    volumes = [volume for result in results for volume in result.volumes]
    command.results = results
    command.status = worst([result.outcome for result in results]).exit_status
    if parsed_args.formatter != "table":
        return _full(results)
    _tell(results)
    restored = any(result.kind == "restore" for result in results)
    return _restored(volumes) if restored else _backed_up(volumes)


def _restored(volumes: Sequence[VolumeResult]) -> Table:
    names = ("Name", "Volume", "Backup", "Outcome", "Restored to", "Files", "Size", "Time")
    return names, [
        (
            volume.name,
            volume.volume_id,
            columns.ShortId(volume.backup_id or ""),
            str(volume.outcome),
            volume.target_id or "-",
            volume.figures.files_total if volume.target_id else "-",
            _size(volume),
            columns.Seconds(volume.seconds),
        )
        for volume in volumes
    ]


def _size(volume: VolumeResult) -> Any:
    """The size of the restored files, if it is known."""
    figures = volume.figures
    if not volume.target_id or (figures.files_total and not figures.bytes_total):
        return "-"
    return columns.Bytes(figures.bytes_total)


def _backed_up(volumes: Sequence[VolumeResult]) -> Table:
    names = ("Name", "Volume", "Outcome", "Backup", "Files", "Read", "Size", "New data", "Time")
    return names, [
        (
            volume.name,
            volume.volume_id,
            str(volume.outcome),
            columns.ShortId(volume.backup_id or ""),
            *_figures(volume),
            columns.Seconds(volume.seconds),
        )
        for volume in volumes
    ]


def _figures(volume: VolumeResult) -> tuple[Any, ...]:
    if volume.backup_id is None:
        # A zero would look like an empty volume.
        return ("-", "-", "-", "-")
    figures = volume.figures
    return (
        figures.files_total,
        figures.files_read,
        columns.Bytes(figures.bytes_total),
        columns.Bytes(figures.bytes_stored),
    )


def _full(results: Sequence[RunResult]) -> Table:
    rows = []
    for result in results:
        for volume in result.volumes:
            row = {"run_id": result.run_id, "kind": result.kind, **volume.to_dict()}
            row.update(row.pop("figures"))
            rows.append(row)
        blank = dict.fromkeys(rows[-1]) if rows else {}
        for one in result.left_out:
            told = {"volume_id": one.volume_id, "name": one.name, "error": one.reason}
            ids = {"run_id": result.run_id, "kind": result.kind, "outcome": "left out"}
            rows.append(blank | ids | told)
    names = list(rows[0]) if rows else ["run_id"]
    return names, [list(row.values()) for row in rows]


def _tell(results: Sequence[RunResult]) -> None:
    """Print what does not fit into the table to the standard error."""
    for result in results:
        for group_id, consistent in result.consistent.items():
            say(f"group {group_id}: {snapshotted(consistent)}")
        for note in result.notes:
            say(note)
        tell_left_out(result.left_out)
        for volume in result.volumes:
            for line in remarks(volume):
                say(f"{volume.name or volume.volume_id}: {line}")


def tell_left_out(left_out: Sequence[LeftOut]) -> None:
    """Say which volumes are left out, and why."""
    for one in left_out:
        say(left_out_line(one))


def left_out_line(one: LeftOut) -> str:
    """Say that a volume is left out, and why."""
    return f"{one.name or one.volume_id}: left out, {one.reason}"


def not_in(backup: StoredBackup, unread: Sequence[str]) -> list[str]:
    """Return lines that name the first files that a backup lacks; none if it is complete."""
    if not unread:
        return []
    name = backup.tags.get("name") or backup.tags.get("volume")
    lines = [f"Backup {backup.id[:8]} of {name} is partial: {counted(unread)} could not be read,"
             " and cannot be restored:"]  # fmt: skip
    return [*lines, *(f"  {line}" for line in cut([shown_path(one) for one in unread], backup.id))]


def say(text: str) -> None:
    """Print a line to the standard error."""
    print(printable(text), file=sys.stderr)
