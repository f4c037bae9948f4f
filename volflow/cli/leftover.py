"""``volflow leftover ...``"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta

from volflow import Leftover, UsageError
from volflow.cli import columns
from volflow.cli.agreement import agree
from volflow.cli.command import Lister
from volflow.cli.result import Table
from volflow.cli.selection import filled


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
        parser.add_argument(
            "only",
            nargs="*",
            type=filled,
            metavar="ID",
            help="only what has this run, volume or resource (its id, or the beginning of it); "
            "everything unless given",
        )
        _add_lost(parser)
        parser.add_argument(
            "--older-than",
            type=float,
            default=24.0,
            metavar="HOURS",
            help="with --lost: only of runs without a sign of life for this time (default: 24)",
        )
        parser.add_argument(
            "--changed",
            action="store_true",
            help="also undo what somebody else has changed since: volumes are reverted to their "
            "safety snapshot, or deleted, and what was written to them since is lost. Needs ID. "
            "Without it, the command asks for each if there is a terminal",
        )
        parser.add_argument(
            "--gone-host",
            action="append",
            default=[],
            metavar="HOST",
            help="this host was rebooted or does not exist any more: devices that were connected "
            "to it are gone. Can be repeated",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if parsed_args.changed and not parsed_args.only:
            raise UsageError(
                "--changed undoes what somebody may use: name each leftover by its ID, as "
                "'volflow leftover list' shows it."
            )
        found = self._clean(parsed_args, changed=parsed_args.changed)
        if parsed_args.only and not found:
            raise UsageError(f"No leftover has the id {' or '.join(parsed_args.only)}.")
        for leftover, trouble in list(found.values()):
            if leftover.changed and not parsed_args.changed and _agreed(leftover, trouble):
                # What else volflow left of this volume waits for it.
                found |= self._clean(parsed_args, changed=True, only=[leftover.volume_id])
        rows = []
        for leftover, trouble in found.values():
            rows.append(
                (
                    columns.ShortId(leftover.run_id),
                    leftover.volume_id,
                    leftover.kind,
                    leftover.resource_id or leftover.tag,
                    f"still there: {trouble}" if trouble else leftover.removed,
                )
            )
            # Nothing can be done about what somebody else has marked as volflow's.
            self.status = 1 if trouble and not leftover.foreign else self.status
        return ("Run", "Volume", "Kind", "ID", "Result"), rows

    def _clean(
        self,
        parsed_args: argparse.Namespace,
        *,
        changed: bool,
        only: Sequence[str] | None = None,
    ) -> dict[tuple[str, str | None], tuple[Leftover, str | None]]:
        """Remove leftovers; each with why it is still there, by its tag and id."""
        return {
            (leftover.tag, leftover.resource_id): (leftover, trouble)
            for leftover, trouble in self.volflow.leftovers.clean(
                lost=parsed_args.lost,
                older_than=timedelta(hours=parsed_args.older_than),
                changed=changed,
                gone_hosts=parsed_args.gone_host,
                only=parsed_args.only if only is None else only,
            )
        }


def _agreed(leftover: Leftover, trouble: str | None) -> bool:
    """Ask whether to undo also what somebody else has changed; no without a terminal."""
    if not sys.stdin.isatty():
        return False
    try:
        agree(
            [
                f"{leftover.kind} {leftover.resource_id}: {trouble}",
                "What was written there since will be lost.",
            ]
        )
    except UsageError:
        return False
    return True


def _add_lost(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lost",
        action="store_true",
        help="also search Cinder for tagged resources that the state database does not list: of "
        "runs of a lost database, and those that Cinder created after their run had ended",
    )
