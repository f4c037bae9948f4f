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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Cost, measure
from bench.site import Site
from lab import Lab

MIB = 2**20

# The targets.
MOST = 1.10
MOST_MEMORY = 150 * MIB
MOST_VERSION = 0.4


@dataclass
class Case:
    """The two sides of one case, run in turn."""

    name: str
    volflow: list[Cost] = field(default_factory=list)
    by_hand: list[Cost] = field(default_factory=list)

    def ratio(self, what: str) -> float:
        """The median of the pairs' ratios: what slows the machine for a while slows a pair."""
        pairs = zip(self.volflow, self.by_hand, strict=True)
        return statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs)


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
    versions = [measure(site.volflow()[:1] + ["--version"], site.environment) for _ in range(9)]
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
    print(f"\n{'':10} {'':12} {'volflow':>9} {'by hand':>9} {'ratio':>7}  target")
    met = []
    for case in cases:
        for what, unit in (("wall", "wall s"), ("cpu", "CPU s")):
            a, b = (
                statistics.median(getattr(cost, what) for cost in side)
                for side in (case.volflow, case.by_hand)
            )
            ratio = case.ratio(what)
            met.append(_row(f"{case.name:10} {unit:12} {a:9.2f} {b:9.2f} {ratio:7.3f}", ratio, MOST))
    peak = max(cost.memory for case in cases for cost in case.volflow)
    peer = max(cost.memory for case in cases for cost in case.by_hand)
    met.append(
        _row(f"{'memory':10} {'peak MiB':12} {peak / MIB:9.1f} {peer / MIB:9.1f} {'':7}",
             peak / MIB, MOST_MEMORY / MIB)
    )
    version = statistics.median(versions)
    met.append(_row(f"{'--version':10} {'wall s':12} {version:9.3f} {'':9} {'':7}", version,
                    MOST_VERSION))
    print(f"{sum(len(case.volflow) for case in cases)} pairs; medians, and of the ratios too")
    return 0 if all(met) else 1


def _row(text: str, value: float, most: float) -> bool:
    print(f"{text}  at most {most:g}: {'met' if value <= most else 'MISSED'}", flush=True)
    return value <= most


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
