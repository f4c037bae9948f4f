"""``python -m bench``: exit status 0 if every target is met, 1 if not, 2 if it cannot run here."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Cost, measure
from bench.site import Site
from lab import Lab

MB = 10**6

# The targets: a ratio, MB, seconds.
MOST = 1.10
MOST_MEMORY = 150.0
MOST_VERSION = 0.4


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    what: str
    volflow: float
    by_hand: float | None
    ratio: float | None
    met: bool

    def __str__(self) -> str:
        by_hand = "" if self.by_hand is None else f"{self.by_hand:.2f}"
        ratio = "" if self.ratio is None else f"{self.ratio:.3f}"
        word = "met" if self.met else "MISSED"
        return f"{self.what:21} {self.volflow:8.2f} {by_hand:>8} {ratio:>6}  {word}"


@dataclass
class Case:
    """The two sides of one case, run in turn."""

    name: str
    volflow: list[Cost] = field(default_factory=list)
    by_hand: list[Cost] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """What the sides have cost, and whether that is within the target."""
        return [
            self._row("wall s", lambda cost: cost.wall),
            self._row("CPU s", lambda cost: cost.cpu),
        ]

    def _row(self, unit: str, of: Callable[[Cost], float]) -> Row:
        volflow, by_hand = [of(cost) for cost in self.volflow], [of(cost) for cost in self.by_hand]
        # Of the pairs, as what slows the machine for a while slows both of a pair.
        ratio = statistics.median(a / b for a, b in zip(volflow, by_hand, strict=True))
        return Row(
            f"{self.name}, {unit}",
            statistics.median(volflow),
            statistics.median(by_hand),
            ratio,
            ratio <= MOST,
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--full", type=int, default=3, metavar="N", help="pairs of full backups")
    parser.add_argument(
        "--unchanged", type=int, default=5, metavar="N", help="pairs after each full one"
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("The lab and the backups mount volumes: root is needed.", file=sys.stderr)
        return 2
    directory = Path(
        tempfile.mkdtemp(prefix="volflow-bench-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    ).resolve()
    try:
        with Lab(directory / "lab") as lab:
            return _run(lab, directory, arguments)
    finally:
        # While a lab is left in it, the directory holds mounts.
        if not (directory / "lab").exists():
            shutil.rmtree(directory)


def _run(lab: Lab, directory: Path, arguments: argparse.Namespace) -> int:
    _say(f"{_machine()}")
    _say(f"filling a volume with {arguments.files} files of {arguments.bytes} bytes in all")
    site = Site(lab, directory)
    site.fill(arguments.files, arguments.bytes)
    full, unchanged = Case("full"), Case("unchanged")
    for number in range(arguments.full):
        site.forget()
        _pair(site, full, swapped=bool(number % 2))
        for again in range(arguments.unchanged):
            _pair(site, unchanged, swapped=bool(again % 2))
    versions = [measure([*site.volflow()[:1], "--version"], site.environment) for _ in range(9)]
    return _report([full, unchanged], [each.wall for each in versions])


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
    _say(
        f"{case.name:9}  volflow {a.wall:6.2f} s, {a.cpu:6.2f} s CPU   "
        f"by hand {b.wall:6.2f} s, {b.cpu:6.2f} s CPU   "
        f"ratio {a.wall / b.wall:.3f}, {a.cpu / b.cpu:.3f}"
    )


def _counts(site: Site) -> list[int]:
    return [len(found) for found in site.snapshots().values()]


def _report(cases: Sequence[Case], versions: Sequence[float]) -> int:
    rows = [row for case in cases for row in case.rows()]
    peak, peer = (
        max(cost.memory for cost in costs) / MB
        for costs in (
            [cost for case in cases for cost in case.volflow],
            [cost for case in cases for cost in case.by_hand],
        )
    )
    rows.append(Row("own memory, peak MB", peak, peer, peak / peer, peak <= MOST_MEMORY))
    version = statistics.median(versions)
    rows.append(Row("--version, wall s", version, None, None, version <= MOST_VERSION))
    print(f"\n{'':21} {'volflow':>8} {'by hand':>8} {'ratio':>6}  target")
    for row in rows:
        print(row)
    pairs = ", ".join(f"{len(case.volflow)} {case.name}" for case in cases)
    print(f"Pairs: {pairs}. Medians; the ratio is the median of the pairs' ratios.")
    return 0 if all(row.met for row in rows) else 1


def _machine() -> str:
    restic = subprocess.run(["restic", "version"], capture_output=True, encoding="utf-8").stdout
    return (
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, "
        f"{' '.join(restic.split()[:2])}"
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
