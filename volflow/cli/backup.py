"""``volflow backup ...``"""

from __future__ import annotations

import argparse
from typing import Any

from volflow import BackupPlan, Figures, Manifest, Outcome, Region, Volflow, times
from volflow.cli import columns
from volflow.cli.agreement import agree
from volflow.cli.command import Lister, ShowOne
from volflow.cli.result import Table, say, show, tell_left_out
from volflow.cli.selection import add_selection, filled, positive, selection
from volflow.printable import printable
from volflow.report.remarks import cut, shown_path
from volflow.report.words import binary, plural, snapshotted

# The number of volumes to name that are read completely.
_NAMED = 5


class BackupCreate(Lister):
    """Back up volumes; reads the files that may have changed since the last backup"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "volumes", metavar="VOLUME", nargs="*", help="id or name of a volume; it may be in use"
        )
        add_selection(parser)
        parser.add_argument(
            "--full",
            action="store_true",
            help="read every file, unchanged ones too, as the first backup does, and later ones "
            "when a full read is due ([backup] full_every)",
        )
        parser.add_argument(
            "--image",
            action="store_true",
            help="store each volume as one image, bit for bit, also where files could be stored",
        )
        parser.add_argument(
            "--parallel", type=positive, metavar="N", help="maximum number of volumes in parallel"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="show what would be backed up, and how; back up nothing",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        chosen = selection(parsed_args, parsed_args.volumes)
        if parsed_args.dry_run:
            plan = self.volflow.backups.plan(chosen, parallel=parsed_args.parallel)
            return _planned(self.volflow, plan, full=parsed_args.full)
        result = self.volflow.backups.create(
            chosen,
            full=parsed_args.full,
            image=parsed_args.image,
            parallel=parsed_args.parallel,
        )
        return show(self, parsed_args, [result])


def _planned(volflow: Volflow, plan: BackupPlan, *, full: bool) -> Table:
    selected = plan.selected
    for note in selected.notes:
        say(note)
    tell_left_out(selected.left_out)
    say(f"{plural(len(selected.volumes), 'volume')}, {plan.parallel} in parallel.")
    group_of = {key: group for group, keys in selected.groups.items() for key in keys}
    for in_group in sorted({volume["id"] in group_of for volume in selected.volumes}):
        whose = "a volume of a group" if in_group else "a volume"
        say(f"The steps of {whose}: {', '.join(volflow.backups.steps(in_group=in_group))}.")
    if commands := volflow.backups.quiesce_commands:
        pre, post = map(printable, commands)
        say(f"Before the snapshot of a volume or group runs: {pre}. After it: {post} ([quiesce]).")
    for group_id, consistent in plan.consistent.items():
        say(f"Group {group_id}: {snapshotted(consistent, planned=True)}.")
    for need in plan.quota_use:
        say(f"This temporarily uses up to: {need}, in the quota of project {need.project_id}.")
    last = {backup.tags.get("volume"): backup for backup in plan.parents}
    first = sum(int(v["size"]) for v in selected.volumes if v["id"] not in last)
    known = sum(v["id"] in last for v in selected.volumes)
    grows = [f"at most {first} GiB for volumes without a backup"] if first else []
    grows += [f"the changes of {plural(known, 'volume')}"] if known else []
    say(f"The repository grows by {', and by '.join(grows)}.")
    least = volflow.backups.least_free_bytes
    for location, free in volflow.backups.free_bytes(plan).items():
        say(f"{location} has {binary(free)} free.{_warning(free, first, least)}")
    complete = set(last) if full else volflow.backups.full_reads_due(plan)
    read = [v["name"] or v["id"] for v in selected.volumes if v["id"] in complete & set(last)]
    if read:
        why = "of --full" if full else "a full read is due ([backup] full_every)"
        more = f", and {len(read) - _NAMED} more" if len(read) > _NAMED else ""
        say(f"All files are read, because {why}: {', '.join(read[:_NAMED])}{more}.")
    rows = []
    for volume in selected.volumes:
        parent = None if volume["id"] in complete else last.get(volume["id"])
        rows.append(
            (
                volume["name"],
                volume["id"],
                volume["size"],
                volume["status"],
                columns.ShortId(parent.id if parent else ""),
                group_of.get(volume["id"], "-"),
            )
        )
    return ("Name", "Volume", "Size GiB", "Status", "Changes since", "Group"), rows


def _warning(free: int, first: int, least: int) -> str:
    """What to do if a repository has too little room.

    :param free: its free bytes
    :param first: the GiB of the volumes that have no backup
    :param least: the bytes without which no backup fits
    """
    if free < least:
        return " This is too little for any backup: free some space there first."
    if free < first * 1024**3:
        return (
            " This may be too little: a backup stores the used part of a volume, compressed. Free "
            "some space there if more is used."
        )
    return ""


class BackupList(Lister):
    """List the backups in the repository, the newest first"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--volume",
            type=filled,
            metavar="VOLUME",
            help="only backups of the volume with this id or name",
        )
        parser.add_argument(
            "--all-tenants",
            action="store_true",
            help="search the repositories of all projects, if each has its own (administrators)",
        )
        parser.add_argument(
            "--long",
            action="store_true",
            help="also show the project, the group, and when a backup last read everything",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if parsed_args.all_tenants:
            found, troubles = self.volflow.backups.list_everywhere(volume=parsed_args.volume)
        else:
            found, troubles = self.volflow.backups.list(volume=parsed_args.volume), {}
        for project_id, error in troubles.items():
            say(f"project {project_id}: {error}")
            self.status = Outcome.PARTIAL.exit_status
        if parsed_args.volume and not found and not troubles:
            # Says what is wrong.
            self.volflow.backups.find(parsed_args.volume, among=())
        known = self.volflow.backups.figures(found)
        for line in self.volflow.backups.doubts(found):
            say(line)
        more = ("project", "group") if parsed_args.long else ()
        names = (
            *("ID", "Created", "Volume", "Name", "Outcome"),
            *("Size GiB", "Files", "Read", "New data", "Data of"),
        )
        last = ("Last full read",) if parsed_args.long else ()
        rows = []
        for backup in reversed(found):
            tags = backup.tags
            rows.append(
                (
                    columns.ShortId(backup.id),
                    columns.Time(backup.created_at),
                    tags.get("volume", ""),
                    tags.get("name", ""),
                    str(backup.outcome),
                    int(tags.get("size", 0)),
                    *_columns(known.get(backup.id)),
                    columns.Time(backup.taken_at),
                    *(tags.get(name) or "-" for name in more),
                    *(columns.Time(backup.full_at) for _ in last),
                )
            )
        return (*names, *(name.title() for name in more), *last), rows


class BackupDelete(Lister):
    """Delete backups; 'volflow repository prune' then frees their space"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "backups", metavar="BACKUP", nargs="+", help="id of a backup or its beginning"
        )
        parser.add_argument("--yes", action="store_true", help="delete without asking")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        stored = self.volflow.backups.list()
        # The name of a volume would mean its last backup, which is easily a mistake.
        chosen = [self.volflow.backups.get(one, among=stored) for one in parsed_args.backups]
        lines = [
            f"Backup {b.id[:8]} of {b.tags.get('name') or b.tags.get('volume')}, of "
            f"{times.local(b.taken_at)}, will be deleted."
            for b in chosen
        ]
        if not parsed_args.yes:
            agree(lines)
        self.volflow.backups.delete(*chosen)
        return ("Deleted", "Volume", "Name"), [
            (columns.ShortId(b.id), b.tags.get("volume"), b.tags.get("name")) for b in chosen
        ]


def _columns(figures: Figures | None) -> tuple[Any, Any, Any]:
    if figures is None:
        return ("-", "-", "-")
    return (figures.files_total, figures.files_read, columns.Bytes(figures.bytes_stored))


class BackupShow(ShowOne):
    """Show a backup: the volume's properties and what was on it at that time"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "backup",
            metavar="BACKUP",
            help="id of a backup or its beginning, or a volume for its last backup",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        backup = self.volflow.backups.find(parsed_args.backup)
        manifest = self.volflow.backups.manifest(backup)
        for line in self.volflow.backups.doubts([backup]):
            say(line)
        shown = {
            "id": backup.id,
            "created_at": columns.Time(backup.created_at),
            "data_of": columns.Time(times.moment_of(manifest.snapshot["created_at"])),
            "run_id": manifest.run_id,
            "outcome": str(backup.outcome),
            "unread": columns.Lines(
                manifest.unread, cut([shown_path(one) for one in manifest.unread], backup.id)
            ),
            "size_gib": manifest.size_gib,
            "volume": columns.Tree(manifest.volume),
            "volume_type": columns.Tree(manifest.volume_type),
            "encryption": columns.Tree(manifest.encryption),
            "group": columns.Tree(manifest.group),
            "regions": _regions(manifest),
        }
        return tuple(shown), tuple(shown.values())


def _regions(manifest: Manifest) -> columns.Tree:
    """The regions. For people, a line each, or the description of the only file system.

    People need no second copy of the parameters, in the words of the tools.
    """
    found: list[dict[str, Any]] = []
    for region in manifest.regions:
        place, kind = region.place, region.file_system
        one: dict[str, Any] = {
            "path": region.path,
            "start": place.start,
            "size": region.size,
            "what": str(place.role),
            "stored_as": _stored_as(region),
            "type": region.type,
        }
        if place.number:
            one["partition"] = place.number
        if place.name:
            one["name"] = place.name
        if region.why:
            one["why_image"] = region.why
        if kind:
            one |= {"sparse_files": len(region.sparse), **kind.to_dict()}
        else:
            one |= {"uuid": region.content.uuid, "label": region.content.label}
        found.append(one)
    if manifest.is_one_tree:
        shown: list[Any] = [{key: one[key] for key in one if key != "raw"} for one in found]
    else:
        shown = list(map(_line, range(len(found)), manifest.regions))
    return columns.Tree(found, shown)


def _stored_as(region: Region) -> str:
    return "image" if region.is_image else "files"


def _line(number: int, region: Region) -> str:
    """A region as a line: its number, what it is, its type, its size, and how it is stored."""
    why = f": {region.why}" if region.why else ""
    kind, size = region.type or "-", binary(region.size)
    return (
        f"{number:>3}  {region.place.what:<36}  {kind:<12}  {size:>10}  {_stored_as(region)}{why}"
    )
