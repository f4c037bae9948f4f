"""``volflow backup ...``"""

from __future__ import annotations

import argparse
from typing import Any

from volflow.application import find_backup
from volflow.cli import columns
from volflow.cli.command import Lister, ShowOne
from volflow.cli.result import Table, show
from volflow.movers.base import Stored


class BackupCreate(Lister):
    """Back up volumes: what has changed since the last backup of each"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "volumes", metavar="VOLUME", nargs="+", help="id or name of a volume, in use or not"
        )
        parser.add_argument(
            "--full", action="store_true", help="read every file again, unchanged ones too"
        )
        parser.add_argument(
            "--parallel", type=_positive, metavar="N", help="work on so many volumes at a time"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        result = self.volflow.backup(
            parsed_args.volumes, full=parsed_args.full, parallel=parsed_args.parallel
        )
        return show(self, parsed_args, [result])


class BackupList(Lister):
    """List the backups in the repository, the newest first"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--volume", metavar="VOLUME", help="only those of the volume of this id or name"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        wanted = parsed_args.volume
        known = self._figures()
        names = ("ID", "Created", "Volume", "Name", "Size GiB", "Files", "Read", "New data")
        rows = []
        for backup in reversed(self.volflow.backups()):
            tags = backup.tags
            if wanted and wanted not in (tags.get("volume"), tags.get("name")):
                continue
            # The catalogue knows what restic's list does not; without it there are no figures.
            figures = known.get(backup.id[:8])
            rows.append(
                (
                    columns.ShortId(backup.id),
                    columns.Time(backup.created_at),
                    tags.get("volume", ""),
                    tags.get("name", ""),
                    int(tags.get("size", 0)),
                    *_columns(figures),
                )
            )
        return names, rows

    def _figures(self) -> dict[str, dict[str, Any]]:
        catalogue = self.volflow.state.catalogue
        found = catalogue.list(repository=self.volflow.mover.location)
        return {backup.id[:8]: backup.figures for backup in found}


def _columns(figures: dict[str, Any] | None) -> tuple[Any, Any, Any]:
    if figures is None:
        return (None, None, None)
    read = figures["files_new"] + figures["files_changed"]
    return (
        read + figures["files_unmodified"],
        read,
        columns.Bytes(figures["bytes_stored"]),
    )


class BackupShow(ShowOne):
    """Show a backup: the volume's properties at that time, and what was on it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "backup",
            metavar="BACKUP",
            help="id of a backup or its beginning, or a volume for its last backup",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        backup: Stored = find_backup(self.volflow.backups(), parsed_args.backup)
        manifest = self.volflow.manifest(backup.id)
        shown = {
            "id": backup.id,
            "created_at": columns.Time(backup.created_at),
            "data_of": manifest.snapshot["created_at"],
            "run_id": manifest.run_id,
            "size_gib": manifest.size_gib,
            "volume": columns.Tree(manifest.volume),
            "volume_type": columns.Tree(manifest.volume_type),
            "encryption": columns.Tree(manifest.encryption),
            "group": columns.Tree(manifest.group),
            "regions": columns.Tree(
                [
                    {
                        "path": region.path,
                        "size": region.size,
                        "sparse_files": len(region.sparse),
                        **region.file_system.to_dict(),
                    }
                    for region in manifest.regions
                ]
            ),
        }
        return tuple(shown), tuple(shown.values())


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value
