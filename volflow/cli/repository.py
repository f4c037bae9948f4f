"""``volflow repository ...``"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from volflow.cli import columns
from volflow.cli.command import Command, Lister
from volflow.cli.result import Table, say
from volflow.cli.selection import filled


class RepositoryInit(Lister):
    """Create the configured repository, or the repository of a project"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project",
            action="append",
            type=filled,
            metavar="ID",
            help="create the repository of this project, where each project has its own (may be "
            "repeated; default: the project of the login)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        rows = []
        for project_id in parsed_args.project or [None]:
            location = self.volflow.repositories.init(project_id)
            rows.append((location, columns.Time(datetime.now(UTC))))
            say(
                f"Created the repository {location}. Keep a copy of its password in another "
                "place: without the password the backups are lost."
            )
        return ("Location", "Created"), rows


class RepositoryList(Lister):
    """List the configured repository and those that were used before"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return ("Location", "Backups", "Volumes", "Last backup", "State"), [
            (
                found.location,
                found.backups,
                found.volumes,
                columns.Time(found.last_backup),
                "configured" if found.configured else "used before",
            )
            for found in self.volflow.repositories.list()
        ]


class RepositoryRebuildCatalogue(Command):
    """Rebuild the list of backups in the state database, after the database was lost"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project",
            action="append",
            type=filled,
            metavar="ID",
            help="read the repository of this project, where each project has its own (may be "
            "repeated)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        for project_id in parsed_args.project or [None]:
            count = self.volflow.repositories.rebuild_catalogue(project_id)
            location = self.volflow.repositories.location(project_id)
            print(f"The catalogue now lists the {count} backups of {location}.")


class RepositoryCheck(Command):
    """Check the repository's structure; 'volflow backup verify' also reads its data"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        print(self.volflow.repositories.check().strip())


class RepositoryPrune(Command):
    """Free the space that no backup needs; no backup can run meanwhile"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        print(self.volflow.repositories.prune().strip())
