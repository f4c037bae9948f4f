"""``volflow leftover ...``"""

from __future__ import annotations

import argparse

from volflow.cli import columns
from volflow.cli.command import Lister
from volflow.cli.result import Table


class LeftoverList(Lister):
    """List the temporary things that runs could not remove"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return ("Run", "Volume", "Kind", "ID", "Since", "Why"), [
            (
                columns.ShortId(entry.run_id),
                entry.item,
                entry.kind,
                entry.resource_id or entry.tag,
                columns.Time(entry.updated_at),
                entry.reason,
            )
            for entry in self.volflow.state.ledger.leftovers()
        ]
