"""``volflow run ...``"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cliff.columns import FormattableColumn

from volflow import (
    BackupRequest,
    DrivenError,
    HostError,
    Item,
    LeftOut,
    RestoreRequest,
    Run,
    StateError,
    SuspendedError,
    Volflow,
    VolflowError,
    times,
)
from volflow.cli import columns
from volflow.cli.command import Command, Lister, ShowOne
from volflow.cli.progress import reporter
from volflow.cli.result import Table, show
from volflow.report.remarks import counted, remarks
from volflow.report.words import plural, snapshotted
from volflow.results import stored

LOG = logging.getLogger(__name__)

# Parts of a request that say something about each volume.
_OF_EACH = frozenset(
    {"backups", "consistent", "groups", "left_out", "projects", "sizes", "targets"}
)


class Holding(FormattableColumn[dict[str, Any] | None]):
    """What a run that is stopped holds in Cinder, and since when."""

    @classmethod
    def of(cls, run: Run, volflow: Volflow) -> Holding:
        """None for a run that has ended or that a process drives."""
        if run.state.final or volflow.runs.is_driven(run):
            return cls(None)
        since = times.utc(run.held_at or run.updated_at)
        return cls(volflow.runs.holdings(run).to_dict() | {"since": since})

    def human_readable(self) -> str:
        if self._value is None:
            return "-"
        parts = [
            plural(self._value[name], name.removesuffix("s"))
            for name in ("volumes", "snapshots", "attachments")
            if self._value[name]
        ]
        if self._value["gib"]:
            parts.append(f"{self._value['gib']} GiB")
        since = times.local(datetime.fromisoformat(self._value["since"]))
        return f"{', '.join(parts) or 'nothing'} since {since}"

    def machine_readable(self) -> Any:
        return self._value


class RunList(Lister):
    """List the runs, the newest first"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--limit",
            type=int,
            default=50,
            metavar="N",
            help="maximum number of runs (default: 50)",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        runs = self.volflow.runs
        return ("ID", "Kind", "State", "Host", "Started", "Ended", "Holds"), [
            (
                columns.ShortId(run.id),
                run.kind,
                runs.status(run),
                run.host,
                columns.Time(run.created_at),
                columns.Time(run.finished_at),
                Holding.of(run, self.volflow),
            )
            for run in runs.list(limit=parsed_args.limit)
        ]


class _OneRun:
    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        parser.add_argument("run", metavar="RUN", help="id of a run or its beginning")
        return parser


class RunShow(_OneRun, ShowOne):
    """Show a run and the progress of each of its volumes"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--html",
            metavar="FILE",
            help="also write an HTML page: when each step ran, and its outcome",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        runs = self.volflow.runs
        run = runs.get(parsed_args.run)
        driven = runs.is_driven(run)
        full = parsed_args.formatter != "table"
        if parsed_args.html:
            _write(parsed_args.html, runs.page(run.id))
        items = runs.volumes(run.id)
        shown = {
            "id": run.id,
            "kind": run.kind,
            "state": runs.status(run),
            "host": run.host,
            "pid": run.pid,
            "created_at": columns.Time(run.created_at),
            "finished_at": columns.Time(run.finished_at),
            "held_at": columns.Time(run.held_at),
            "holds": Holding.of(run, self.volflow),
            "request": columns.Tree(run.request if full else _asked(run, runs.request(run))),
            "left_out": columns.Lines([_left_out(one) for one in stored.left_out(run)]),
            "volumes": columns.Lines([_line(item, driven) for item in items]),
            "remarks": columns.Lines([line for item in items for line in _remarks(item)]),
        }
        return tuple(shown), tuple(shown.values())


class RunWatch(_OneRun, Lister):
    """Follow a run from another terminal until it ends; its outcome is the exit status"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        runs, observer = self.volflow.runs, reporter(self.app.options.verbose_level)
        with _interruptible() as stopping:
            run = runs.watch(parsed_args.run, observer, stopping=stopping)
        if run.state.final:
            return show(self, parsed_args, [runs.result(run.id)])
        if stopping.is_set():
            raise SuspendedError(f"Run {run.id} continues; it is no longer watched here.")
        raise SuspendedError(
            f"No process drives run {run.id}; 'volflow run resume {run.id[:8]}' continues it, "
            f"and 'volflow run abort {run.id[:8]}' undoes it."
        )


class RunGraph(_OneRun, Command):
    """Draw the tasks of a run, with the state of each"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--format",
            choices=["svg", "dot"],
            default="svg",
            help="an image, or text for Graphviz (default: svg)",
        )
        parser.add_argument(
            "--output", metavar="FILE", help="write to this file, not to the standard output"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        drawn = self.volflow.runs.graph(parsed_args.run, format=parsed_args.format)
        _write(parsed_args.output or "-", drawn)


class RunResume(Lister):
    """Continue a run that was suspended, or whose process or host has died"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("run", metavar="RUN", nargs="?", help="id of a run or its beginning")
        which.add_argument(
            "--all",
            action="store_true",
            help="all unfinished runs that no process drives, one after the other; but not those "
            "that a person stopped with Ctrl-C",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        if not parsed_args.all:
            return show(self, parsed_args, [self.volflow.runs.resume(parsed_args.run)])
        for held in self.volflow.runs.held():
            LOG.warning(
                "Run %s is left alone: a person stopped it. It holds %s. 'volflow run resume %s' "
                "continues it, and 'volflow run abort %s' undoes it.",
                held.id,
                Holding.of(held, self.volflow).human_readable(),
                held.id[:8],
                held.id[:8],
            )
        results, failed = [], False
        for one in self.volflow.runs.resume_all():
            if one.result is not None:
                results.append(one.result)
            elif isinstance(one.error, DrivenError):
                # Another process was faster: the run continues there.
                LOG.warning("%s", one.error)
            else:
                known = isinstance(one.error, (VolflowError, StateError))
                why = one.error if known else repr(one.error)
                LOG.error("Run %s could not be resumed: %s", one.run.id, why)
                failed = True
        table = show(self, parsed_args, results)
        self.status = 1 if failed else self.status
        return table


class RunAbort(_OneRun, Lister):
    """Undo a run that has not ended; backups that it has stored stay"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        result = self.volflow.runs.abort(parsed_args.run)
        if result is None:
            print(
                "A process drives this run and was asked to undo it; 'volflow run show "
                f"{parsed_args.run}' shows its progress.",
                file=sys.stderr,
            )
        table = show(self, parsed_args, [result] if result else [])
        # The user requested it: volumes without a backup are not a failure here.
        left = any(volume.leftovers for volume in result.volumes) if result else False
        self.status = 1 if left else 0
        return table


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Give an event that Ctrl-C sets while the block runs. It ends the watching, not the run."""
    stopping = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stopping.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(name: str, text: str) -> None:
    """Write to a file, or with ``-`` to the standard output."""
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise HostError(f"{name} could not be written: {error.strerror}.") from error
    print(f"{name} is written.", file=sys.stderr)


def _asked(run: Run, request: BackupRequest | RestoreRequest) -> dict[str, Any]:
    """The request without what it says about each volume."""
    parts = {key: value for key, value in run.request.items() if key not in _OF_EACH}
    groups = {key: snapshotted(value) for key, value in request.consistent.items()}
    return parts | {"groups": groups} if groups else parts


def _left_out(one: LeftOut) -> str:
    return f"{one.name or '-'} ({one.volume_id}): {one.reason}"


def _remarks(item: Item) -> list[str]:
    """What a person should know of the result of a volume, besides its outcome."""
    if not item.state.final:
        return []
    result = stored.volume_result(item)
    return [f"{item.name or item.key}: {line}" for line in remarks(replace(result, error=None))]


def _line(item: Item, driven: bool) -> str:
    """The progress of a volume, or its result."""
    parts = [stored.state(item, driven=driven)]
    if item.state.final:
        result = stored.volume_result(item)
        if result.backup_id:
            parts.append(f"backup {result.backup_id[:8]}")
        if result.target_id:
            parts.append(f"restored to {result.target_id}")
        if result.unread:
            parts.append(f"{counted(result.unread)} could not be read")
        if result.leftovers:
            parts.append(plural(len(result.leftovers), "leftover"))
        parts.append(columns.Seconds(result.seconds).human_readable())
    elif item.step:
        parts.append(f"at '{item.step}'")
    error = f": {item.error}" if item.error else ""
    return f"{item.name or '-'} ({item.key}): {', '.join(parts)}{error}"
