"""``volflow backup ls | extract | mount | diff | verify``."""

from __future__ import annotations

import argparse

from volflow import Outcome, RepositoryError, StoredBackup, UsageError, Volflow
from volflow.cli import columns
from volflow.cli.command import Command, Lister
from volflow.cli.result import Table, not_in, say
from volflow.cli.selection import ONE_BACKUP, path
from volflow.report.words import plural

# The sample that is read if no backup is named, in percent.
_SAMPLE = 10.0


class _OneBackup:
    """A command on the contents of one backup."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        parser.add_argument("backup", metavar="BACKUP", help=ONE_BACKUP)
        return parser


def _tell_missing(volflow: Volflow, backup: StoredBackup, path: str = "/") -> None:
    """Tell what a backup lacks below a path: it looks as if it had not been on the volume."""
    unread = volflow.backups.manifest(backup).unread_of([path]) if backup.unread else ()
    for line in (*volflow.backups.doubts([backup]), *not_in(backup, unread)):
        say(line)


class BackupLs(_OneBackup, Lister):
    """List the files in a backup"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="in the volume")
        parser.add_argument("--recursive", action="store_true", help="list its subdirectories too")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        backup = self.volflow.backups.find(parsed_args.backup, complete=True)
        nodes = self.volflow.backups.files(
            backup, parsed_args.path, recursive=parsed_args.recursive
        )
        _tell_missing(self.volflow, backup, parsed_args.path)
        return ("Mode", "UID", "GID", "Size", "Modified", "Path"), [
            (
                node.permissions,
                node.uid,
                node.gid,
                columns.Bytes(node.size),
                columns.Time(node.modified_at),
                node.path,
            )
            for node in nodes
        ]


class BackupExtract(_OneBackup, Command):
    """Extract files and directories from a backup, with all their metadata"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("paths", metavar="PATH", nargs="+", help="path in the volume")
        parser.add_argument(
            "--to",
            type=path,
            required=True,
            metavar="DIR",
            help="new or empty directory; the files keep their full path below it",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        backup = self.volflow.backups.find(parsed_args.backup, complete=True)
        exporter = self.volflow.backups.export(backup)
        exporter.to_directory(parsed_args.to, parsed_args.paths)
        unread = exporter.unread(parsed_args.paths)
        for line in (*self.volflow.backups.doubts([backup]), *not_in(backup, unread)):
            say(line)
        if unread or not backup.finished:
            self.status = Outcome.PARTIAL.exit_status
        print(f"Extracted {plural(len(parsed_args.paths), 'path')} to {parsed_args.to}.")


class BackupMount(_OneBackup, Command):
    """Mount a backup read-only at a directory, until interrupted"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("dir", type=path, metavar="DIR", help="empty directory")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        backup = self.volflow.backups.find(parsed_args.backup, complete=True)
        with self.volflow.backups.mount(backup, parsed_args.dir) as mounted:
            _tell_missing(self.volflow, backup)
            print(f"The backup is mounted at {mounted.directory}. Press Ctrl-C to end.", flush=True)
            with self.volflow.stop.serving():
                mounted.wait()


class BackupDiff(Lister):
    """List what changed between two backups of a volume"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("old", metavar="OLD", help=ONE_BACKUP)
        parser.add_argument("new", metavar="NEW", help=ONE_BACKUP)
        parser.add_argument(
            "--metadata",
            action="store_true",
            help="also list files of which only owner, mode, times or attributes changed; "
            "files that volflow read again to be sure have another ctime",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        backups = self.volflow.backups
        stored = backups.list()
        old, new = (
            backups.find(one, among=stored, complete=True)
            for one in (parsed_args.old, parsed_args.new)
        )
        for one in (old, new):
            _tell_missing(self.volflow, one)
        return ("Change", "Path"), [
            (change.kind, change.path)
            for change in backups.changes(old, new, metadata=parsed_args.metadata)
        ]


class BackupVerify(Lister):
    """Read backups, or a sample of the repository, and compare with the checksums"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "backups",
            metavar="BACKUP",
            nargs="*",
            help="read these backups in full; without any, a sample of the whole repository",
        )
        parser.add_argument(
            "--percent",
            type=float,
            metavar="N",
            help="size of the sample (default: 10); 100 reads everything",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        percent = parsed_args.percent
        if percent is not None and parsed_args.backups:
            raise UsageError("--percent is for a sample; named backups are read in full.")
        percent = _SAMPLE if percent is None else percent
        if not 0 < percent <= 100:
            raise UsageError("--percent must be more than 0 and at most 100.")
        if not parsed_args.backups:
            report = self.volflow.repositories.check(percent=percent).strip().splitlines()
            return ("Checked", "Result"), [(f"{percent:g} %", report[-1])]
        backups, rows = self.volflow.backups, []
        stored = backups.list()
        for what in parsed_args.backups:
            backup = backups.find(what, among=stored)
            _tell_missing(self.volflow, backup)
            try:
                size = columns.Bytes(backups.verify(backup)).human_readable()
                result = f"whole, {size} read"
            except RepositoryError as error:
                self.status, result = 1, f"FAILED: {error}"
            rows.append((f"{backup.tags.get('name')} {backup.id[:8]}", result))
        return ("Checked", "Result"), rows
