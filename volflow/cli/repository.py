"""``volflow repository ...``"""

from __future__ import annotations

import argparse

from volflow.cli import columns
from volflow.cli.command import Command, Lister
from volflow.cli.result import Table


class RepositoryInit(Command):
    """Make the repository that is configured"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        self.volflow.mover.init()
        print(
            f"The repository {self.volflow.mover.location} is made. Keep its password where a "
            "disaster does not reach it: without it the backups are lost."
        )


class RepositoryList(Lister):
    """List the repository that is configured and those that were used before"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        configured = self.volflow.mover.location
        stored = self.volflow.backups()
        rows = [
            (
                configured,
                len(stored),
                len({backup.tags.get("volume") for backup in stored}),
                columns.Time(stored[-1].created_at if stored else None),
                "configured",
            )
        ]
        others = [b for b in self.volflow.state.catalogue.list() if b.repository != configured]
        for location in sorted({backup.repository for backup in others}):
            known = [backup for backup in others if backup.repository == location]
            rows.append(
                (
                    location,
                    len(known),
                    len({backup.volume_id for backup in known}),
                    columns.Time(max(backup.created_at for backup in known)),
                    "used before",
                )
            )
        return ("Location", "Backups", "Volumes", "Last backup", "State"), rows
