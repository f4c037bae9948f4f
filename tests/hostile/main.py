"""Rounds of runs beside hostile tenants, and after each round the comparison.

In each round the tenants act while an administrator backs up all tenants, and the tenants back up
and restore. Then the tenants undo what stands in the way (attachments, states, snapshots), the
operators resume what is open and clean up, and everything is compared:

* What tenants own is there, and holds the same bytes.
* What was not backed up has a reason in the command's output.
* What volflow made is gone, or in the list of leftovers.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.hostile.town import new_scene

Say = Callable[[str], None]


def main(arguments: Sequence[str]) -> int:
    """Parse the command line; return 0 if nothing was touched and volflow reported everything."""
    parser = argparse.ArgumentParser(prog="hostile", description="Let tenants disturb runs.")
    parser.add_argument("minutes", type=float, nargs="?", default=15.0)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    return run(options.minutes, seed=options.seed)


def run(minutes: float, say: Say = print, *, seed: int | None = None) -> int:
    """Run rounds for so many minutes; return 0 if nothing was touched, and everything told."""
    seed = seed if seed is not None else random.randrange(10**6)
    say(f"{minutes:g} minutes, seed {seed}")
    until = time.monotonic() + minutes * 60
    acts: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    troubles: list[str] = []
    rounds = 0
    directory = Path(tempfile.mkdtemp(prefix="volflow-hostile-"))
    try:
        with new_scene(directory) as scene:
            while True:
                rounds += 1
                found = scene.round(f"{seed}.{rounds}", acts, outcomes)
                for line in found:
                    say(f"BAD  round {rounds}: {line}")
                troubles += found
                say(f"round {rounds}: {len(found)} troubles")
                if time.monotonic() > until:
                    break
    finally:
        if not troubles:
            shutil.rmtree(directory)
    for what, count in sorted(acts.items()):
        say(f"{count:5}  {what}")
    for what, count in sorted(outcomes.items()):
        say(f"{count:5}  {what}")
    say(f"{rounds} rounds, {sum(acts.values())} acts, seed {seed}: {len(troubles)} troubles")
    if troubles:
        say(f"The logs and databases of Cinder and volflow are in {directory}")
    return 1 if troubles else 0
