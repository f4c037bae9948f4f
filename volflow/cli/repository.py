"""``volflow repository ...``"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from volflow.cli import columns
from volflow.cli.command import Command, Lister
from volflow.cli.result import Table, say
from volflow.cli.selection import filled


class RepositoryInit(Lister):
    """Make the repository that is configured, or that of a project"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project",
            action="append",
            type=filled,
            metavar="ID",
            help="the project whose repository to make, where each has its own (may be repeated; "
            "that of the login unless given)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        rows = []
        for project_id in parsed_args.project or [None]:
            mover = self.volflow.context.repositories.of(project_id)
            mover.init()
            rows.append((mover.location, columns.Time(datetime.now(UTC))))
            say(
                f"The repository {mover.location} is made. Keep its password where a disaster "
                "does not reach it: without it the backups are lost."
            )
        return ("Location", "Created"), rows


class RepositoryList(Lister):
    """List the repository that is configured and those that were used before"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        configured = self.volflow.context.repositories.of().location
        stored = self.volflow.context.backups.backups()
        rows = [
            (
                configured,
                len(stored),
                len({backup.tags.get("volume") for backup in stored}),
                columns.Time(stored[-1].created_at if stored else None),
                "configured",
            )
        ]
        catalogue = self.volflow.context.state.catalogue
        others = [backup for backup in catalogue.list() if backup.repository != configured]
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


class RepositoryRebuildCatalogue(Command):
    """Fill the state database with what the repository holds, after it was lost"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--project",
            action="append",
            type=filled,
            metavar="ID",
            help="the project whose repository to read, where each has its own (may be repeated)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        for project_id in parsed_args.project or [None]:
            count = self.volflow.context.backups.rebuild_catalogue(project_id)
            location = self.volflow.context.repositories.of(project_id).location
            print(f"The catalogue knows the {count} backups of {location}.")


class RepositoryCheck(Command):
    """Check the repository's structure; 'volflow backup verify' reads its data, too"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        print(self.volflow.context.repositories.of().run("check").strip())


class RepositoryPrune(Command):
    """Free what no backup needs any more; no backup can run meanwhile"""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        print(self.volflow.context.repositories.of().prune().strip())
