"""``volflow state ...``"""

from __future__ import annotations

import argparse

from volflow.cli.command import Command


class StateMigrate(Command):
    """Create the tables of the state database, or update them

    SQLite never needs this: volflow does it itself. Other programs may use a database server, so
    there you run this once after each upgrade, while no run is in progress.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.volflow.migrate_state()
        print("The state database is up to date.")
