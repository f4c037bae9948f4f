"""The command line of the fault matrix."""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.fault_matrix.case import (
    CALLING,
    FLOWS,
    Case,
    few,
    of_groups,
    of_removal,
    of_restic,
    of_tasks,
)
from tests.fault_matrix.outage_cases import (
    few_outages,
    of_continued,
    of_logins,
    of_other_flows,
    of_repository,
)
from tests.fault_matrix.verdict import Verdict, begin
from tests.fault_matrix.workers import Workers
from tests.support.outages import Outage
from tests.support.postgresql import databases

Say = Callable[[str], None]
KINDS = ("all", "faults", "outages", "repository")


def main(arguments: Sequence[str]) -> int:
    """Run the matrix; return 0 if it finds no leaks and no losses."""
    parser = argparse.ArgumentParser(prog="matrix", description="Run the fault matrix.")
    parser.add_argument(
        "--workers", type=int, default=4, metavar="N", help="how many cases run in parallel"
    )
    parser.add_argument("--short", action="store_true", help="one case for each step and fault")
    parser.add_argument(
        "--postgresql", action="store_true", help="keep the state in a PostgreSQL server"
    )
    parser.add_argument(
        "--only", default="", metavar="PATTERN", help="run the cases with a matching line"
    )
    parser.add_argument(
        "--kinds",
        choices=KINDS,
        default="all",
        help="run the cases of single faults, of outages, or both",
    )
    parser.add_argument("--list", action="store_true", help="print the cases, and run none")
    parser.add_argument(
        "--logs", type=Path, metavar="DIR", help="where to keep the logs of failed cases"
    )
    parser.add_argument(
        "--after",
        type=Path,
        metavar="FILE",
        help="skip the cases that were ok in this output of an earlier run",
    )
    options = parser.parse_args(arguments)
    # A signal ends the labs too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    return run(
        short=options.short,
        postgresql=options.postgresql,
        workers=options.workers,
        only=options.only,
        kinds=options.kinds,
        listed=options.list,
        logs=options.logs,
        earlier=options.after.read_text() if options.after else "",
    )


def run(
    *,
    short: bool = False,
    postgresql: bool = False,
    workers: int = 4,
    only: str = "",
    kinds: str = "all",
    listed: bool = False,
    logs: Path | None = None,
    earlier: str = "",
    say: Say = print,
) -> int:
    """Run the matrix, and print it.

    :param short: run the short matrix
    :param postgresql: keep the state in a PostgreSQL server
    :param only: a pattern for the lines of the cases to run
    :param kinds: one of :data:`KINDS`
    :param listed: print the cases, and run none
    :param logs: the directory for logs of failed cases
    :param earlier: the output of an earlier run; cases that were ok in it are only counted
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        urls = stack.enter_context(databases(workers)) if postgresql else [None] * workers
        staff = stack.enter_context(Workers(urls))
        cases = [*few(), *few_outages()] if short else list(_all(staff))
        chosen = [
            case
            for case in cases
            if re.search(only, str(case)) and kinds in ("all", _kind_of(case))
        ]
        if listed:
            say("\n".join(map(str, chosen)))
            return 0
        todo = [case for case in chosen if begin(case, good=True) not in earlier]
        verdicts = [_shown(verdict, say, logs) for verdict in staff.run(todo)]
    return _summary(verdicts, len(chosen) - len(todo), time.monotonic() - began, say)


def _all(staff: Workers) -> Iterator[Case]:
    """The cases of the complete matrix; those that take longest first."""
    for flow in FLOWS:
        yield from of_restic(flow)
    yield from of_repository()
    yield from (*of_removal(), *of_groups(), *of_other_flows(), *of_logins(), *of_continued())
    # The flows with the most possible faults first.
    yield from sorted(staff.calls(CALLING), key=lambda case: -FLOWS.index(case.flow))
    for flow in reversed(FLOWS):
        yield from of_tasks(flow)


def _kind_of(case: Case) -> str:
    if not isinstance(case.fault, Outage):
        return "faults"
    return "repository" if case.is_of_storage else "outages"


def _shown(verdict: Verdict, say: Say, logs: Path | None) -> Verdict:
    """Print the line of a case, and its problems."""
    say("\n".join([str(verdict), *verdict.troubles()]))
    if logs and not verdict.good:
        logs.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w]+", "-", str(verdict.case))
        (logs / f"{name}.log").write_text("\n".join([*verdict.troubles(), verdict.log]))
    return verdict


def _summary(verdicts: Sequence[Verdict], before: int, seconds: float, say: Say) -> int:
    """Print the last lines; return the exit status.

    :param before: how many cells were good in an earlier run
    """
    leaks = sum(len(verdict.leaks) for verdict in verdicts)
    losses = sum(len(verdict.losses) for verdict in verdicts)
    wrong = sum(len(verdict.wrong) for verdict in verdicts)
    needed: dict[str, int] = {}
    for verdict in verdicts:
        needed[verdict.operator] = needed.get(verdict.operator, 0) + 1
    say("")
    for key, count in sorted(needed.items(), key=lambda pair: -pair[1]):
        say(f"{count:4} cells needed {'nothing' if key == '-' else key}")
    if before:
        say(f"{before:4} cells were good in the run before")
    say(f"{seconds / 60:.1f} minutes")
    more = f", {wrong} other faults" if wrong else ""
    say(f"{before + len(verdicts)} cells, {leaks} leaks, {losses} losses{more}")
    return 1 if leaks or losses or wrong or not before + len(verdicts) else 0
