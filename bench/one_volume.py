"""What volflow costs compared with a script: one volume with many files."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import place
from bench.measure import Cost, measure
from bench.report import MB, Report, Target, machine, say
from bench.site import Site
from lab import Lab

MADE = """\
`tools/bench by-hand`: one volume of the lab with {files} files and {size:.0f} MB, backed up by
`volflow backup create` and by `bench/baseline_script.py`, a script that makes the same calls of
Cinder with the same clients, polls as often, and runs the same two commands of restic: {full}
rounds of full backups into empty repositories, {unchanged} rounds without a change. Every second
round runs in the opposite order. "Unchecked" is the same script without the check of the repository
before it creates anything in the cloud; its backups are never full, so that both scripts can share
a repository. CPU is user and system time of the program and its children. All figures are medians.
A ratio is the median of the rounds' ratios, because a disturbance slows all programs of a round.
{restic}.
{machine}."""

# The targets: a ratio, MB, seconds.
MOST = 1.10
MOST_MEMORY = 150.0
MOST_VERSION = 0.4


@dataclass
class Case:
    """The costs of one case: volflow, the script, and the unchecked script."""

    name: str
    volflow: list[Cost] = field(default_factory=list)
    by_hand: list[Cost] = field(default_factory=list)
    unchecked: list[Cost] = field(default_factory=list)

    def tell(self, report: Report) -> None:
        """Add the costs to the report."""
        self._tell(report, "wall s", lambda cost: cost.wall)
        self._tell(report, "CPU s", lambda cost: cost.cpu)

    def _tell(self, report: Report, unit: str, of: Callable[[Cost], float]) -> None:
        name, mine = f"{self.name}, {unit}", [of(cost) for cost in self.volflow]
        cells: list[str | float] = [name, statistics.median(mine)]
        for costs in (self.by_hand, self.unchecked):
            theirs = [of(cost) for cost in costs]
            if theirs:
                ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
                cells += [statistics.median(theirs), ratio]
            else:
                cells += ["-", "-"]
        report.rows.append(cells)
        report.targets.append(Target(f"{name}: volflow to by hand", float(cells[3]), MOST))


def run(*, short: bool) -> Report:
    """Run the benchmark; returns its report."""
    files, size = (2_000, 40_000_000) if short else (50_000, 1_000_000_000)
    fulls, more = (1, 2) if short else (3, 5)
    full, unchanged = Case("full"), Case("unchanged")
    with place.directory() as directory:
        place.room(directory, 10 * size)
        with Lab(directory / "lab") as lab:
            say(f"filling a volume with {files} files, {size} bytes in total")
            site = Site(lab, directory)
            site.fill(files, size)
            for number in range(fulls):
                site.forget()
                _round(site, full, swapped=bool(number % 2))
                for again in range(more):
                    _round(site, unchanged, swapped=bool(again % 2))
            program = [str(Path(sys.executable).with_name("volflow")), "--version"]
            versions = [measure(program, site.environment).wall for _ in range(9)]
    restic = subprocess.run(["restic", "version"], capture_output=True, encoding="utf-8").stdout
    report = Report(
        "One volume, compared with a script",
        MADE.format(
            files=files,
            size=size / MB,
            full=fulls,
            unchanged=len(unchanged.volflow),
            restic=" ".join(restic.split()[:2]),
            machine=machine(),
        ),
        ("", "volflow", "by hand", "ratio", "unchecked", "ratio"),
    )
    for case in (full, unchanged):
        case.tell(report)
    peak, peer = (
        max(cost.memory for cost in costs) / MB
        for costs in ([*full.volflow, *unchanged.volflow], [*full.by_hand, *unchanged.by_hand])
    )
    report.rows.append(("own memory, peak MB", peak, peer, peak / peer, "-", "-"))
    report.targets.append(Target("own memory of volflow, peak MB", peak, MOST_MEMORY))
    version = statistics.median(versions)
    report.targets.append(Target("`volflow --version`, wall s", version, MOST_VERSION))
    return report


def _round(site: Site, case: Case, *, swapped: bool) -> None:
    """Run the programs one after the other, in the opposite order if swapped."""
    by_hand = site.by_hand_environment
    sides = [
        (case.volflow, site.volflow("backup", "create", site.volume_id), site.environment),
        (case.by_hand, site.by_hand(), by_hand),
    ]
    if case.name == "unchanged":
        sides.append((case.unchecked, site.by_hand("--unchecked"), by_hand))
    before = _count(site)
    for costs, command, environment in reversed(sides) if swapped else sides:
        costs.append(measure(command, environment))
    # A copy, and the verdict on it.
    if _count(site) != before + 2 * len(sides):
        raise RuntimeError("A program stored no backup, or more than one.")
    figures = [f"{costs[-1].wall:6.2f} s, {costs[-1].cpu:6.2f} s CPU" for costs, _, _ in sides]
    say(f"{case.name:9}  {'   '.join(figures)}")


def _count(site: Site) -> int:
    return sum(len(found) for found in site.snapshots().values())
