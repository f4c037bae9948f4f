"""The command line of the fault matrix."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from matrix.cell import FLOWS, Cell, of_restic, of_tasks
from matrix.trial import Verdict
from matrix.workers import Workers


def main(arguments: Sequence[str]) -> int:
    """Run the matrix; 0 when nothing is left and nothing is lost."""
    parser = argparse.ArgumentParser(prog="matrix", description="Run the fault matrix.")
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="so many at a time")
    parser.add_argument("--only", default="", metavar="PATTERN", help="cells whose line fits")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="where to keep logs of bad cells")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with Workers([None] * options.workers) as workers:
        cells = [cell for flow in FLOWS for cell in (*of_restic(flow), *of_tasks(flow))]
        cells += workers.calls(FLOWS)
        cells = [cell for cell in cells if re.search(options.only, str(cell))]
        verdicts = [shown(verdict, print, options.logs) for verdict in workers.run(cells)]
    return summary(verdicts, time.monotonic() - began, print)


def shown(verdict: Verdict, say: Callable[[str], None], logs: Path | None) -> Verdict:
    """Print a cell's line, and what is wrong with it."""
    say(str(verdict))
    for line in verdict.troubles():
        say(line)
    if logs and not verdict.good:
        logs.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w]+", "-", str(verdict.cell))
        (logs / f"{name}.log").write_text("\n".join([*verdict.troubles(), verdict.log]))
    return verdict


def summary(verdicts: Sequence[Verdict], seconds: float, say: Callable[[str], None]) -> int:
    """Print the last lines; the exit status."""
    leaks = sum(len(verdict.leaks) for verdict in verdicts)
    losses = sum(len(verdict.losses) for verdict in verdicts)
    wrong = sum(len(verdict.wrong) for verdict in verdicts)
    needed: dict[str, int] = {}
    for verdict in verdicts:
        key = ", then ".join(verdict.needed) or "nothing"
        needed[key] = needed.get(key, 0) + 1
    say("")
    for key, count in sorted(needed.items(), key=lambda pair: -pair[1]):
        say(f"{count:4} cells needed {key}")
    say(f"{seconds / 60:.0f} minutes")
    more = f", {wrong} other faults" if wrong else ""
    say(f"{len(verdicts)} cells, {leaks} leaks, {losses} losses{more}")
    return 1 if leaks or losses or wrong or not verdicts else 0


__all__ = ["Cell", "main"]
