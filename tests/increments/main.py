"""Lives of volumes until the time is over, and what was seen in them."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import Lab, settings
from tests.increments.life import KINDS, Life, Tally
from tests.support.auditor import Api
from tests.support.site import environment_of, new_site

Say = Callable[[str], None]

_ROUNDS = 6


def main(arguments: Sequence[str]) -> int:
    """Parse the command line; return 0 if backups missed nothing but what they may miss."""
    parser = argparse.ArgumentParser(prog="increments", description="Back up while files change.")
    parser.add_argument("minutes", type=float, nargs="?", default=10.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--kind", choices=sorted(KINDS), help="only file systems of this kind")
    parser.add_argument(
        "--without-touch",
        action="store_true",
        help="volflow gives no file another ctime: see that troubles are found",
    )
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    kinds = [options.kind] if options.kind else list(KINDS)
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    return run(options.minutes, kinds, seed, touch=not options.without_touch)


def run(minutes: float, kinds: Sequence[str], seed: int, say: Say = print, *, touch: bool) -> int:
    """Let volumes live for so many minutes, on a lab of their own."""
    say(f"{minutes:g} minutes, seed {seed}")
    until = time.monotonic() + minutes * 60
    tally, lives = Tally(), 0
    with tempfile.TemporaryDirectory(prefix="volflow-increments-") as name:
        scratch = Path(name).resolve()
        lab = Lab(scratch / "lab")
        lab.up()
        try:
            with (
                environment_of(lab),
                new_site(
                    scratch, lab, Api.noauth(lab.endpoint, settings.USER, settings.PROJECT)
                ) as site,
            ):
                while time.monotonic() < until:
                    what = kinds[lives % len(kinds)]
                    lives += 1
                    known = len(tally.troubles)
                    Life(site, what, f"{seed}.{lives}", tally, touch=touch).live(_ROUNDS)
                    for line in tally.troubles[known:]:
                        say(f"BAD  life {lives}: {line}")
                    say(f"life {lives} ({what}): {len(tally.troubles) - known} troubles")
        finally:
            lab.down()
    for counted, count in sorted(tally.counts.items()):
        say(f"{count:6}  {counted}")
    say(f"{lives} lives, seed {seed}: {len(tally.troubles)} troubles")
    return 1 if tally.troubles else 0
