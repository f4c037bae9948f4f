"""``volflow restore ...``"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime

from volflow.cli import columns
from volflow.cli.command import Lister
from volflow.cli.result import Table, show
from volflow.cli.selection import add_selection, selection
from volflow.errors import UsageError
from volflow.plans import RestoreTarget


class RestoreCreate(Lister):
    """Restore volumes: into the volume itself if it is there, else to a new one like it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "what",
            metavar="BACKUP|VOLUME",
            nargs="*",
            help="id of a backup or its beginning, or a volume for its last backup",
        )
        add_selection(parser)
        parser.add_argument(
            "--at",
            type=_moment,
            metavar="TIME",
            help="as it was then: the last backup of each volume up to this time, for example "
            "2026-02-28T23:00, local unless it says otherwise",
        )
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--new", action="store_true", help="make a new volume, even where the old one is there"
        )
        where.add_argument(
            "--into", metavar="VOLUME", help="overwrite this volume, which must not be attached"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="only say which backup would go where"
        )
        parser.add_argument(
            "--yes", action="store_true", help="overwrite existing volumes without asking"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        targets = self.volflow.plan_restore(
            selection(parsed_args, parsed_args.what),
            new=parsed_args.new,
            into=parsed_args.into,
            at=parsed_args.at,
        )
        if parsed_args.dry_run:
            return _planned(targets)
        overwritten = [target for target in targets if target.target_id]
        if overwritten and not parsed_args.yes:
            _ask(overwritten)
        return show(self, parsed_args, [self.volflow.restore(targets)])


def _planned(targets: list[RestoreTarget]) -> Table:
    return ("Name", "Volume", "Backup", "Data of", "Goes to"), [
        (
            target.manifest.volume["name"],
            target.manifest.volume_id,
            columns.ShortId(target.backup.id),
            target.manifest.snapshot["created_at"],
            f"volume {target.target_id}" if target.target_id else "a new volume",
        )
        for target in targets
    ]


def _ask(targets: list[RestoreTarget]) -> None:
    """Have a person agree that volumes are overwritten.

    :raises UsageError: nobody is there, or does not agree
    """
    for target in targets:
        print(
            f"Volume {target.target_id} will be overwritten with backup {target.backup.id[:8]}, "
            f"of {target.manifest.snapshot['created_at']} UTC.",
            file=sys.stderr,
        )
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to agree: say --yes, or --new for a new volume.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was done.")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no time like 2026-02-28T23:00 or 2026-02-28T22:00Z"
        ) from error
