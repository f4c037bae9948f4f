"""``volflow leftover ...``"""

from __future__ import annotations

import argparse
from datetime import timedelta

from volflow.cli import columns
from volflow.cli.command import Lister
from volflow.cli.result import Table


class LeftoverList(Lister):
    """List the temporary resources that runs have left in Cinder and on this host"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_lost(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return ("Run", "Volume", "Kind", "ID", "Since", "Why"), [
            (
                columns.ShortId(leftover.run_id),
                leftover.volume_id,
                leftover.kind,
                leftover.resource_id or leftover.tag,
                columns.Time(leftover.since),
                leftover.reason,
            )
            for leftover in self.volflow.leftovers.list(lost=parsed_args.lost)
        ]


class LeftoverClean(Lister):
    """Remove leftovers; the resources of a run that is alive are never touched"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        _add_lost(parser)
        parser.add_argument(
            "--older-than",
            type=float,
            default=24.0,
            metavar="HOURS",
            help="with --lost: only of runs without a sign of life for this time (default: 24)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        rows = []
        for leftover, trouble in self.volflow.leftovers.clean(
            lost=parsed_args.lost, older_than=timedelta(hours=parsed_args.older_than)
        ):
            rows.append(
                (
                    columns.ShortId(leftover.run_id),
                    leftover.volume_id,
                    leftover.kind,
                    leftover.resource_id or leftover.tag,
                    f"still there: {trouble}" if trouble else leftover.removed,
                )
            )
            self.status = 1 if trouble else self.status
        return ("Run", "Volume", "Kind", "ID", "Result"), rows


def _add_lost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lost",
        action="store_true",
        help="also search Cinder for tagged resources that the state database does not list: of "
        "runs of a lost database, and those that Cinder created after their run had ended",
    )
