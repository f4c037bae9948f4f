"""The options that select volumes, common to backup and restore."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from volflow import Selection, UsageError

# What names one backup.
ONE_BACKUP = "id of a backup or its beginning, or a volume for its last complete backup"
_NAME = "only volumes whose name matches; may contain * and ? (may be repeated)"


def add_selection(parser: argparse.ArgumentParser, name_help: str = _NAME) -> None:
    """Add the options of a selection."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--all", action="store_true", help="all volumes of the project")
    where.add_argument(
        "--all-tenants", action="store_true", help="all volumes of all projects (administrators)"
    )
    where.add_argument(
        "--group",
        type=_list,
        action="extend",
        default=[],
        metavar="ID[,ID]",
        help="all volumes of these volume groups, which share one group snapshot (may be repeated)",
    )
    only = parser.add_argument_group("with --all and --all-tenants")
    # Where it has another meaning too, it stands among the other options.
    (only if name_help == _NAME else parser).add_argument(
        "--name",
        type=filled,
        action="append",
        metavar="PATTERN",
        help=name_help,
    )
    only.add_argument(
        "--metadata",
        type=pair,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only volumes with this metadata (may be repeated)",
    )
    only.add_argument(
        "--type",
        type=filled,
        action="append",
        metavar="TYPE",
        help="only volumes of this type (may be repeated)",
    )
    only.add_argument(
        "--exclude",
        type=filled,
        action="append",
        default=[],
        metavar="VOLUME",
        help="leave out this volume, by id or name (may be repeated)",
    )


def selection(parsed_args: argparse.Namespace, volumes: Sequence[str]) -> Selection:
    """Return the selection that the options describe."""
    metadata: dict[str, list[str]] = {}
    for key, value in parsed_args.metadata:
        metadata.setdefault(key, []).append(value)
    return Selection(
        volumes=tuple(volumes),
        everything=parsed_args.all,
        all_tenants=parsed_args.all_tenants,
        groups=tuple(parsed_args.group),
        name=parsed_args.name,
        metadata=metadata,
        volume_type=parsed_args.type,
        exclude=tuple(parsed_args.exclude),
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in filled(text).split(",") if part.strip())


def filled(text: str) -> str:
    """A text, for argparse. An empty one comes from a variable that was not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; was a variable not set?")
    return text


def path(text: str) -> Path:
    """A file or directory, for argparse. An empty path would be the current directory."""
    return Path(filled(text))


def pair(text: str) -> tuple[str, str]:
    """A KEY=VALUE, for argparse."""
    key, mark, value = text.partition("=")
    if not (key and mark):
        raise argparse.ArgumentTypeError(f"'{text}' is not KEY=VALUE")
    return key, value


def mapping(text: str) -> tuple[str, str]:
    """An A=B with something on both sides, for argparse."""
    old, new = pair(text)
    if not new:
        raise argparse.ArgumentTypeError(f"'{text}' does not say to what; was a variable not set?")
    return old, new


def mapped(option: str, pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The mapping of an option that was given several times.

    :raises UsageError: it maps one name to two others
    """
    found: dict[str, str] = {}
    for old, new in pairs:
        if found.setdefault(old, new) != new:
            raise UsageError(f"{option} maps '{old}' to '{found[old]}' and to '{new}'.")
    return found


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value
