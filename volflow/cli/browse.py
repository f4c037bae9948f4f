"""``volflow backup ls | extract | mount | diff | verify``: looking into backups."""

from __future__ import annotations

import argparse
import time

from volflow.cli import columns
from volflow.cli.command import Command, Lister
from volflow.cli.result import Table, not_in, say
from volflow.cli.selection import path
from volflow.errors import HostError, RepositoryError, UsageError
from volflow.movers.base import REGION, StoredBackup
from volflow.movers.restic.browse import Browser, unmount
from volflow.repositories.backups import find
from volflow.results.outcome import Outcome

# What a guest has put on its volume is nothing to act upon here.
_LOOK_ONLY = "ro,nosuid,nodev,noexec"
# What is read of the repository where no backup is named, in percent.
_SAMPLE = 10.0
# Seconds between two looks whether the repository is still there.
_LOOK = 1.0


class _OneBackup:
    """A command on one backup."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        parser.add_argument(
            "backup",
            metavar="BACKUP",
            help="id of a backup or its beginning, or a volume for its last backup",
        )
        return parser

    def find(self, what: str) -> StoredBackup:
        archive = self.volflow.context.backups  # type: ignore[attr-defined]
        return find(archive.backups(), what)

    def browser(self, backup: StoredBackup) -> Browser:
        mover = self.volflow.context.repositories.of(backup.tags.get("project"))  # type: ignore[attr-defined]
        return Browser(mover, REGION)


class BackupLs(_OneBackup, Lister):
    """List the files in a backup"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="in the volume")
        parser.add_argument("--recursive", action="store_true", help="what is below it, too")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        backup = self.find(parsed_args.backup)
        nodes = self.browser(backup).list(
            backup.id, parsed_args.path, recursive=parsed_args.recursive
        )
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
    """Get files and directories out of a backup, with all their metadata"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("paths", metavar="PATH", nargs="+", help="in the volume")
        parser.add_argument(
            "--to",
            type=path,
            required=True,
            metavar="DIR",
            help="a new or empty directory, in which they get their whole path",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        backup = self.find(parsed_args.backup)
        takeout = self.volflow.restores.export(backup)
        takeout.to_directory(parsed_args.to, parsed_args.paths)
        unread = takeout.unread(parsed_args.paths)
        for line in not_in(backup, unread):
            say(line)
        if unread:
            self.status = Outcome.PARTIAL.exit_status
        print(f"{len(parsed_args.paths)} of the backup's paths are in {parsed_args.to}.")


class BackupMount(_OneBackup, Command):
    """Show the files of a backup in a directory, read-only, until interrupted"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("dir", type=path, metavar="DIR", help="an empty directory")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        directory = parsed_args.dir.absolute()
        try:
            usable = directory.is_dir() and not any(directory.iterdir())
        except OSError as error:
            raise UsageError(
                f"{directory} cannot be looked at ({error.strerror}). If a process that was killed "
                f"has left a mount there, 'umount {directory}' removes it."
            ) from error
        if not usable:
            raise UsageError(f"{directory} is no empty directory.")
        backup = self.find(parsed_args.backup)
        context = self.volflow.context
        context.host.privilege.check()
        served = context.directory(f"fuse-{backup.id[:8]}-{time.time_ns()}")
        stop = self.volflow.stop.event
        try:
            with self.browser(backup).mounted(backup.id, served, context.host.privilege) as (
                tree,
                process,
            ):
                context.host.privilege.run(
                    "mount", "--bind", "-o", _LOOK_ONLY, str(tree), str(directory)
                )
                try:
                    print(f"The backup is in {directory}. Press Ctrl-C to end.", flush=True)
                    while not stop.wait(_LOOK):
                        if process.poll() is not None:
                            raise HostError("restic, which served the backup, has ended.")
                finally:
                    if not unmount(context.host.privilege, directory):
                        say(f"{directory} is still in use: what is seen there ends now.")
        finally:
            try:
                served.rmdir()
            except OSError as error:
                say(f"{served} is still there ({error.strerror}): remove it later.")


class BackupDiff(Lister):
    """List what has changed from one backup of a volume to another"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("old", metavar="OLD", help="id of a backup, or its beginning")
        parser.add_argument("new", metavar="NEW", help="id of a backup, or its beginning")
        parser.add_argument(
            "--metadata",
            action="store_true",
            help="also what has changed in its owner, mode, times or attributes alone",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        stored = self.volflow.context.backups.backups()
        old, new = find(stored, parsed_args.old), find(stored, parsed_args.new)
        if old.tags.get("volume") != new.tags.get("volume"):
            raise UsageError("These are backups of two volumes; compare two of one volume.")
        browser = Browser(self.volflow.context.repositories.of(old.tags.get("project")), REGION)
        return ("Change", "Path"), [
            (change.kind, change.path)
            for change in browser.changes(old.id, new.id, metadata=parsed_args.metadata)
        ]


class BackupVerify(Lister):
    """Read backups, or a sample of the repository, and compare with the checksums"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "backups",
            metavar="BACKUP",
            nargs="*",
            help="read all of these; without any, a sample of the whole repository",
        )
        parser.add_argument(
            "--percent",
            type=float,
            metavar="N",
            help="size of the sample (10); 100 reads everything",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        percent = parsed_args.percent
        if percent is not None and parsed_args.backups:
            raise UsageError("--percent is for a sample; backups that are named are read whole.")
        percent = _SAMPLE if percent is None else percent
        if not 0 < percent <= 100:
            raise UsageError("--percent takes more than 0 and at most 100.")
        context = self.volflow.context
        if not parsed_args.backups:
            report = Browser(context.repositories.of(), REGION).check(percent).strip().splitlines()
            return ("Checked", "Result"), [(f"{percent:g} %", report[-1])]
        stored, rows = self.volflow.context.backups.backups(), []
        for what in parsed_args.backups:
            backup = find(stored, what)
            browser = Browser(context.repositories.of(backup.tags.get("project")), REGION)
            try:
                self.volflow.context.backups.manifest(backup)
                size = columns.Bytes(browser.read_all(backup.id)).human_readable()
                result = f"whole, {size} read"
            except RepositoryError as error:
                self.status, result = 1, f"FAILED: {error}"
            rows.append((f"{backup.tags.get('name')} {backup.id[:8]}", result))
        return ("Checked", "Result"), rows
