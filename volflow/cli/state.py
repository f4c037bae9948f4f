"""``volflow state ...``"""

from __future__ import annotations

import argparse

from persistence import State
from volflow import config
from volflow.cli.command import Command


class StateMigrate(Command):
    """Make the tables of the state database, or bring them up to date

    SQLite needs it never: volflow does it by itself there. A database server may have other
    users, so there it is done once, by hand, while no run is under way.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        State.migrate(config.state_url(self.volflow.context.conf))
        print("The state database is up to date.")
