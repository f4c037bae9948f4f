"""The command line of the matrix of file systems.

Each variant is a volume with files. It is backed up, and restored to a new volume, in place and to
an image, each with a verification. Then the tools of the file system describe the new one: every
property is equal, or volflow has told the difference. A variant that this host cannot make again
fails at its backup, or its backup has a remark. Nothing remains in the cloud or on the host.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.filesystems.batch import Batch, Verdict
from tests.filesystems.variant import Variant
from tests.filesystems.variants import SEED, all_variants

Say = Callable[[str], None]
# Volumes that are backed up and restored together, and how many of them at a time.
BATCH, AT_A_TIME = 12, 4


def main(arguments: Sequence[str]) -> int:
    """Parse the command line; return 0 if volflow reported every difference."""
    parser = argparse.ArgumentParser(prog="filesystems", description="Try all file systems.")
    parser.add_argument("--only", default="", metavar="REGEX", help="variants with such a name")
    parser.add_argument("--list", action="store_true", help="print the variants, and run none")
    parser.add_argument("--seed", type=int, default=SEED, help="of the combinations")
    parser.add_argument("--parallel", type=int, default=2, metavar="N", help="labs")
    options = parser.parse_args(arguments)
    chosen = [one for one in all_variants(options.seed) if re.search(options.only, str(one))]
    if options.list:
        print("\n".join(map(str, chosen)))
        return 0
    # A signal ends the labs too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    return run(chosen, parallel=options.parallel, seed=options.seed)


def run(variants: Sequence[Variant], say: Say = print, *, parallel: int, seed: int) -> int:
    """Run variants, and print what became of each; return 0 if nothing is wrong."""
    began = time.monotonic()
    verdicts: list[Verdict] = []
    broken: list[str] = []
    for found in _from_labs(variants, max(1, min(parallel, -(-len(variants) // BATCH)))):
        if isinstance(found, str):
            broken.append(found)
            say(f"BAD {found}")
        else:
            verdicts.append(found)
            say("\n".join([str(found), *(f"      {each}" for each in found.troubles)]))
    made = [each for each in verdicts if each.made]
    bad = [each for each in verdicts if each.troubles]
    told = [each for each in made if each.told]
    minutes = (time.monotonic() - began) / 60
    say(f"{minutes:.1f} minutes, seed {seed}: {len(verdicts) - len(made)} cannot be made")
    say(f"{len(made)} file systems, {len(told)} with reported differences, {len(bad)} bad")
    return 1 if bad or broken or len(verdicts) != len(variants) else 0


def _from_labs(variants: Sequence[Variant], count: int) -> Iterator[Verdict | str]:
    """The verdicts, as they come; a text for each lab that has ended because of an error."""
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    workers = [
        context.Process(target=_in_a_lab, args=(variants[number::count], answers))
        for number in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        running = count
        while running:
            found = answers.get()
            if found is None:
                running -= 1
            else:
                yield found
    except BaseException:
        for worker in workers:
            # It ends its lab.
            worker.terminate()
        raise
    finally:
        for worker in workers:
            worker.join()


def _in_a_lab(variants: Sequence[Variant], answers: Any) -> None:
    """Run variants in a lab of their own."""
    from lab import Lab, settings
    from tests.support.auditor import Api
    from tests.support.site import environment_of, new_site

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    # It warns of every protocol that this host does not have.
    logging.getLogger("os_brick").setLevel(logging.ERROR)
    directory = Path(tempfile.mkdtemp(prefix="volflow-filesystems-"))
    try:
        with Lab(directory / "lab") as lab, environment_of(lab):
            api = Api.noauth(lab.endpoint, settings.USER, settings.PROJECT)
            with new_site(directory, lab, api) as site:
                for verdict in on_site(site, variants):
                    answers.put(verdict)
    except BaseException:  # noqa: BLE001 - it is the answer
        answers.put(traceback.format_exc())
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        answers.put(None)


def on_site(site: Any, variants: Sequence[Variant]) -> Iterator[Verdict]:
    """The verdicts on variants, in batches on one site."""
    for first in range(0, len(variants), BATCH):
        with site.volflow(backup__parallel=AT_A_TIME) as volflow:
            verdicts = Batch(site, volflow).run(variants[first : first + BATCH])
        left = [f"its batch has left: {each}" for each in site.findings()]
        verdicts[0].troubles += left
        yield from verdicts
