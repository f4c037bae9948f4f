"""``volflow run ...``"""

from __future__ import annotations

import argparse

from persistence import Item
from volflow.cli import columns
from volflow.cli.command import Lister, ShowOne
from volflow.cli.result import ResultLister, Table


class RunList(Lister):
    """List the runs, the newest first"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="so many at most")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return ("ID", "Kind", "State", "Host", "Started", "Ended"), [
            (
                columns.ShortId(run.id),
                run.kind,
                run.state.lower(),
                run.host,
                columns.Time(run.created_at),
                columns.Time(run.finished_at),
            )
            for run in self.volflow.state.runs.list(limit=parsed_args.limit)
        ]


class _OneRun:
    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]
        parser.add_argument("run", metavar="RUN", help="id of a run or its beginning")
        return parser


class RunShow(_OneRun, ShowOne):
    """Show a run, and how far each of its volumes is"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        runs = self.volflow.state.runs
        run = runs.get(parsed_args.run)
        shown = {
            "id": run.id,
            "kind": run.kind,
            "state": run.state.lower(),
            "host": run.host,
            "pid": run.pid,
            "created_at": columns.Time(run.created_at),
            "finished_at": columns.Time(run.finished_at),
            "request": columns.Tree(run.request),
            "volumes": columns.Lines([_line(item) for item in runs.items(run.id)]),
        }
        return tuple(shown), tuple(shown.values())


class RunResume(_OneRun, ResultLister):
    """Go on with a run whose process was killed, or whose host was restarted"""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        return self.show(parsed_args, self.volflow.resume(parsed_args.run))


def _line(item: Item) -> str:
    state = item.state.lower()
    if not item.state.final and item.step:
        state += f", at '{item.step}'"
    if item.error:
        state += f": {item.error}"
    return f"{item.name or '-'} ({item.key}): {state}"
