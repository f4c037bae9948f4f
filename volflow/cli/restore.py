"""``volflow restore ...``"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from datetime import datetime
from typing import Any

from volflow import (
    Destination,
    Joining,
    Outcome,
    Overwrite,
    RestoreOptions,
    RestorePlan,
    RestoreTarget,
    UsageError,
    times,
)
from volflow.cli import columns
from volflow.cli.agreement import agree
from volflow.cli.command import Lister
from volflow.cli.overwriting import overwriting
from volflow.cli.result import Table, left_out_line, not_in, say, show
from volflow.cli.selection import (
    ONE_BACKUP,
    add_selection,
    filled,
    mapped,
    mapping,
    path,
    positive,
    selection,
)
from volflow.report.words import plural

LOG = logging.getLogger(__name__)

# Options that make no sense if no volume is restored.
_OF_VOLUMES = (
    *("all", "all_tenants", "group", "recreate_vol_on_error", "keep_extra", "grow"),
    *("keep_newer", "overwrite"),
    *("meta_override", "type_map", "az_map", "project_map", "remove_old_vol", "parallel"),
)


class RestoreCreate(Lister):
    """Restore volumes: into the volume itself if it exists, else to a new one like it"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "what",
            metavar="BACKUP|VOLUME",
            nargs="*",
            help=ONE_BACKUP,
        )
        add_selection(
            parser,
            "with one BACKUP or VOLUME and --new: the name of the new volume. With --all and "
            "--all-tenants: only volumes whose name matches; may contain * and ? (may be repeated)",
        )
        parser.add_argument(
            "--at",
            type=_moment,
            metavar="TIME",
            help="restore the last backup of each volume up to this time, for example "
            "2026-02-28T23:00; local time unless it names a time zone",
        )
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--new", action="store_true", help="create new volumes, even if the old ones exist"
        )
        where.add_argument(
            "--into",
            type=filled,
            metavar="VOLUME",
            help="overwrite this volume, which must not be attached",
        )
        where.add_argument(
            "--to-path",
            type=path,
            metavar="DIR",
            help="write the files of one backup into this empty directory; needs no Cinder",
        )
        where.add_argument(
            "--to-image",
            type=path,
            metavar="FILE",
            help="write one backup into this new disk image, raw or .qcow2; needs no Cinder",
        )
        parser.add_argument(
            "--recreate-vol-on-error",
            action="store_true",
            help="restore into a copy of a volume that is attached, instead of refusing",
        )
        parser.add_argument(
            "--keep-extra",
            action="store_true",
            help="keep the files of an existing volume that the backup does not have",
        )
        # Its former name, which promised something else.
        parser.add_argument("--keep-newer", action="store_true", help=argparse.SUPPRESS)
        parser.add_argument(
            "--overwrite",
            choices=[str(each) for each in Overwrite],
            help="which files of an existing volume to replace with those of the backup: all of "
            "them (always, the default), all but those that were modified later than in the backup "
            "(if-newer), or none of them, so that only missing files are restored (never)",
        )
        parser.add_argument(
            "--grow",
            action="store_true",
            help="grow the file system to the size of a larger volume",
        )
        parser.add_argument(
            "--verify", action="store_true", help="compare the restored files with the backup"
        )
        parser.add_argument(
            "--meta-override",
            nargs="?",
            type=_object,
            const={},
            metavar="JSON",
            help="also restore the properties of existing volumes, with the changes in this JSON "
            'object, for example {"name": "new"}',
        )
        parser.add_argument(
            "--type-map",
            type=mapping,
            action="append",
            default=[],
            metavar="A=B",
            help="restore volumes of type A as type B (may be repeated)",
        )
        parser.add_argument(
            "--az-map",
            type=mapping,
            action="append",
            default=[],
            metavar="A=B",
            help="restore volumes of zone A to zone B (may be repeated)",
        )
        parser.add_argument(
            "--project-map",
            type=mapping,
            action="append",
            default=[],
            metavar="A=B",
            help="restore volumes of the project with id A to that with id B (may be repeated)",
        )
        parser.add_argument(
            "--allow-partial",
            action="store_true",
            help="restore the last backup of a volume even if it is partial (default: the last "
            "complete one, if there is any)",
        )
        parser.add_argument(
            "--remove-old-vol",
            action="store_true",
            help="remove the volumes that new ones replace, after all is restored and verified",
        )
        parser.add_argument(
            "--parallel", type=positive, metavar="N", help="maximum number of volumes in parallel"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="show which backup would go where; restore nothing",
        )
        parser.add_argument(
            "--yes", action="store_true", help="overwrite and remove volumes without asking"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        new_name = _new_name(parsed_args)
        chosen = selection(parsed_args, parsed_args.what)
        if parsed_args.keep_newer:
            LOG.warning(
                "--keep-newer is now called --keep-extra: it keeps files that the backup does not "
                "have. To keep newer files, use --overwrite if-newer."
            )
        if parsed_args.to_path or parsed_args.to_image:
            return self._without_cinder(parsed_args)
        options = RestoreOptions(
            new=parsed_args.new,
            into=parsed_args.into,
            recreate_vol_on_error=parsed_args.recreate_vol_on_error,
            keep_extra=parsed_args.keep_extra or parsed_args.keep_newer,
            overwrite=Overwrite(parsed_args.overwrite or Overwrite.ALWAYS),
            grow=parsed_args.grow,
            verify=parsed_args.verify or parsed_args.remove_old_vol,
            meta_override=parsed_args.meta_override,
            type_map=mapped("--type-map", parsed_args.type_map),
            az_map=mapped("--az-map", parsed_args.az_map),
            project_map=mapped("--project-map", parsed_args.project_map),
            remove_old_vol=parsed_args.remove_old_vol,
            name=new_name,
            allow_partial=parsed_args.allow_partial,
        )
        if parsed_args.dry_run:
            plan = self.volflow.restores.plan(
                chosen, options, at=parsed_args.at, parallel=parsed_args.parallel
            )
            for line in _notes(plan):
                say(line)
            say(f"{plural(len(plan.targets), 'volume')}, {plan.parallel} in parallel.")
            for where, steps in self.volflow.restores.steps(plan).items():
                say(f"The steps of a volume ({where}): {', '.join(steps)}.")
            for line in (*overwriting(plan), *_partial(plan)):
                say(line)
            for use in plan.quota_use:
                say(f"This uses up to: {use}, in the quota of project {use.project_id}.")
            if any(one.wanted for one in plan.left_out):
                self.status = Outcome.PARTIAL.exit_status
            return _planned(plan)
        result = self.volflow.restores.create(
            chosen,
            options,
            at=parsed_args.at,
            parallel=parsed_args.parallel,
            confirm=None if parsed_args.yes else _ask,
        )
        return show(self, parsed_args, [result])

    def _without_cinder(self, parsed_args: argparse.Namespace) -> Table:
        if len(parsed_args.what) != 1:
            raise UsageError("--to-path and --to-image take one backup.")
        for option in _OF_VOLUMES:
            if getattr(parsed_args, option, None) not in (None, False, [], ()):
                name = option.replace("_", "-")
                raise UsageError(f"--{name} is for volumes; --to-path and --to-image create none.")
        stored = self.volflow.backups.list()
        backup = self.volflow.backups.find(
            parsed_args.what[0],
            at=parsed_args.at,
            among=stored,
            complete=not parsed_args.allow_partial,
        )
        exporter = self.volflow.backups.export(backup)
        where = parsed_args.to_path or parsed_args.to_image
        doubts = self.volflow.restores.notes_on_backups(stored, [backup])
        for line in (*doubts, *not_in(backup, exporter.unread())):
            say(line)
        if parsed_args.dry_run:
            print(f"Nothing is written to {where}: this is a dry run.", file=sys.stderr)
        elif parsed_args.to_path:
            exporter.to_directory(parsed_args.to_path, verify=parsed_args.verify)
            root = exporter.root()
            say(
                f"The root of the volume had mode {root.permissions}, user {root.uid} and group "
                f"{root.gid}; only the owner of {where} can read it."
            )
        else:
            differences = exporter.to_image(parsed_args.to_image, verify=parsed_args.verify)
            for name, (was, now) in differences.items():
                say(f"The image differs: file system: {name} was {was!r} and is {now!r}.")
        if (exporter.unread() or not backup.finished) and not parsed_args.dry_run:
            self.status = Outcome.PARTIAL.exit_status
        return ("Name", "Volume", "Backup", "Written to"), [
            (
                backup.tags.get("name"),
                backup.tags.get("volume"),
                columns.ShortId(backup.id),
                str(where),
            )
        ]


def _new_name(parsed_args: argparse.Namespace) -> str | None:
    """The name of the new volume: ``--name`` is no filter if a volume is named."""
    if not parsed_args.what or not parsed_args.name:
        return None
    *others, name = parsed_args.name
    if others:
        raise UsageError("--name with a volume or a backup names one new volume.")
    parsed_args.name = None
    if parsed_args.to_path or parsed_args.to_image:
        raise UsageError("--name is for volumes; --to-path and --to-image create none.")
    return str(name)


def _notes(plan: RestorePlan) -> list[str]:
    """What a person should know about a plan before agreeing to it."""
    return [*plan.notes, *map(left_out_line, plan.left_out)]


def _planned(plan: RestorePlan) -> Table:
    names = ("Name", "Volume", "Backup", "Data of", "Goes to", "Group", "Removed afterwards")
    return names, [
        (
            target.manifest.volume["name"],
            target.manifest.volume_id,
            columns.ShortId(target.backup.id),
            columns.Time(target.backup.taken_at),
            _goal(target, plan.options.name),
            _group(target),
            _removed(target) if plan.options.remove_old_vol else "-",
        )
        for target in plan.targets
    ]


def _removed(target: RestoreTarget) -> str:
    if not target.replaced:
        return "-"
    what = f"volume {target.replaced['id']}"
    return f"not {what}: {target.in_the_way}" if target.in_the_way else what


def _group(target: RestoreTarget) -> str:
    name = target.manifest.group.get("name") or target.manifest.group.get("id")
    return {None: "-", Joining.EXISTING: f"joins {name}", Joining.ANEW: f"{name}, created again"}[
        target.joins
    ]


def _goal(target: RestoreTarget, name: str | None) -> str:
    if target.destination is Destination.NEW:
        return f"a new volume named '{name}'" if name else "a new volume"
    assert target.existing is not None
    found = f"volume {target.existing['id']}"
    return found if target.overwritten else f"a copy of {found}"


def _ask(plan: RestorePlan) -> None:
    """Ask a person to agree if volumes are overwritten or removed.

    :raises UsageError: the person does not agree, or there is no terminal
    """
    lines = overwriting(plan)
    if plan.options.remove_old_vol:
        lines += [
            f"Volume {target.replaced['id']} will stay: {target.in_the_way}."
            if target.in_the_way
            else f"Volume {target.replaced['id']} ({target.replaced['name'] or 'no name'}, "
            f"{target.replaced['size']} GiB) will be removed when everything is restored and "
            "verified."
            for target in plan.targets
            if target.replaced
        ]
    overwrites = any(target.overwritten for target in plan.targets)
    shown = [*_notes(plan), *lines, *_partial(plan)] if lines else []
    agree(shown, ", or --new for a new volume" if overwrites else "")


def _partial(plan: RestorePlan) -> list[str]:
    """Say which of the backups are partial."""
    return [
        line for target in plan.targets for line in not_in(target.backup, target.manifest.unread)
    ]


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def _moment(text: str) -> datetime:
    try:
        return times.at(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a time like 2026-02-28T23:00 or 2026-02-28T22:00Z"
        ) from error
