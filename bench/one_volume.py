"""What volflow costs beside a script that does the same by hand: one volume with many files."""

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
`volflow backup create` and by `bench/by_hand.py`, a script that makes the same calls of Cinder
with the same clients, waits as often, and runs the same restic: {full} pairs of full backups
into empty repositories, {unchanged} pairs without a change, the sides swapped from pair to
pair. CPU is user and system time of the program and of all that it starts. Medians; a ratio is
the median of the pairs' ratios, as what slows the machine for a while slows both of a pair.
{restic}. {machine}."""

# The targets: a ratio, MB, seconds.
MOST = 1.10
MOST_MEMORY = 150.0
MOST_VERSION = 0.4


@dataclass
class Case:
    """The two sides of one case, run in turn."""

    name: str
    volflow: list[Cost] = field(default_factory=list)
    by_hand: list[Cost] = field(default_factory=list)

    def tell(self, report: Report) -> None:
        """What the sides have cost."""
        self._tell(report, "wall s", lambda cost: cost.wall)
        self._tell(report, "CPU s", lambda cost: cost.cpu)

    def _tell(self, report: Report, unit: str, of: Callable[[Cost], float]) -> None:
        volflow, by_hand = [of(cost) for cost in self.volflow], [of(cost) for cost in self.by_hand]
        ratio = statistics.median(a / b for a, b in zip(volflow, by_hand, strict=True))
        name = f"{self.name}, {unit}"
        report.rows.append((name, statistics.median(volflow), statistics.median(by_hand), ratio))
        report.targets.append(Target(f"{name}: volflow to by hand", ratio, MOST))


def run(*, short: bool) -> Report:
    """Measure, and tell."""
    files, size = (2_000, 40_000_000) if short else (50_000, 1_000_000_000)
    fulls, more = (1, 2) if short else (3, 5)
    full, unchanged = Case("full"), Case("unchanged")
    with place.directory() as directory:
        place.room(directory, 10 * size)
        with Lab(directory / "lab") as lab:
            say(f"filling a volume with {files} files of {size} bytes in all")
            site = Site(lab, directory)
            site.fill(files, size)
            for number in range(fulls):
                site.forget()
                _pair(site, full, swapped=bool(number % 2))
                for again in range(more):
                    _pair(site, unchanged, swapped=bool(again % 2))
            program = [str(Path(sys.executable).with_name("volflow")), "--version"]
            versions = [measure(program, site.environment).wall for _ in range(9)]
    restic = subprocess.run(["restic", "version"], capture_output=True, encoding="utf-8").stdout
    report = Report(
        "One volume, beside a script by hand",
        MADE.format(
            files=files,
            size=size / MB,
            full=fulls,
            unchanged=len(unchanged.volflow),
            restic=" ".join(restic.split()[:2]),
            machine=machine(),
        ),
        ("", "volflow", "by hand", "ratio"),
    )
    for case in (full, unchanged):
        case.tell(report)
    peak, peer = (
        max(cost.memory for cost in costs) / MB
        for costs in ([*full.volflow, *unchanged.volflow], [*full.by_hand, *unchanged.by_hand])
    )
    report.rows.append(("own memory, peak MB", peak, peer, peak / peer))
    report.targets.append(Target("own memory of volflow, peak MB", peak, MOST_MEMORY))
    version = statistics.median(versions)
    report.targets.append(Target("`volflow --version`, wall s", version, MOST_VERSION))
    return report


def _pair(site: Site, case: Case, *, swapped: bool) -> None:
    """Run the two sides one after the other, each as often the first."""
    sides = [
        (case.volflow, site.volflow("backup", "create", site.volume_id), site.environment),
        (case.by_hand, site.by_hand(), site.by_hand_environment),
    ]
    before = _counts(site)
    for costs, command, environment in reversed(sides) if swapped else sides:
        costs.append(measure(command, environment))
    if _counts(site) != [count + 1 for count in before]:
        raise RuntimeError("A side has stored no backup, or more than one.")
    a, b = case.volflow[-1], case.by_hand[-1]
    say(
        f"{case.name:9}  volflow {a.wall:6.2f} s, {a.cpu:6.2f} s CPU   "
        f"by hand {b.wall:6.2f} s, {b.cpu:6.2f} s CPU   "
        f"ratio {a.wall / b.wall:.3f}, {a.cpu / b.cpu:.3f}"
    )


def _counts(site: Site) -> list[int]:
    return [len(found) for found in site.snapshots().values()]
