"""``python -m matrix.soak [MINUTES]``: kill runs at random moments while others go on.

Some actors, each with a volume of its own, back it up, restore it to a new volume and restore into
it, all in one cloud, one repository and one state database. Any of these is killed at any moment,
resumed or aborted at random, and that is killed too. In the end everything is resumed and audited.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tree

from matrix.driver import Answer, carry_out, finish, start
from matrix.stand import Stand, stand

_ACTORS = 4
_KILLED = 0.7
# Seconds after which a process is killed at the latest; most end sooner.
_LONGEST = 12.0


class Actor(threading.Thread):
    """Does one thing after the other with one volume.

    :ivar done: how often what came of it
    :ivar troubles: what must not be
    """

    def __init__(self, here: Stand, volume: str, until: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.here, self.volume, self.until = here, volume, until
        self.chance = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self._round()
        except Exception:  # noqa: BLE001 - it is what came of it
            self.troubles.append(traceback.format_exc())

    def _round(self) -> None:
        kind = self.chance.choice(["backup", "restore", "restore new"])
        verb, _, new = kind.partition(" ")
        answer = self._do(verb, self.volume, **({"options": {"new": True}} if new else {}))
        while self.here.books.runs_of(self.volume) and time.monotonic() < self.until:
            (run,) = self.here.books.runs_of(self.volume)
            answer = self._do(self.chance.choice(["resume", "resume", "abort"]), run)
        if answer.error:
            self.troubles.append(f"{kind}: {answer.error}")
        self._check(kind, answer)

    def _do(self, verb: str, what: str, **more: Any) -> Answer:
        order = self.here.order(verb, what, **more)
        process = start(order)
        if self.chance.random() < _KILLED:
            process.join(self.chance.uniform(0.1, _LONGEST))
            if process.exitcode is None and process.pid:
                os.kill(process.pid, signal.SIGKILL)
        answer = finish(order, process)
        self.done[f"{verb} {'killed' if answer.exit else answer.result}"] += 1
        return answer

    def _check(self, kind: str, answer: Answer) -> None:
        """Nothing must be changed on the volume; a new one is looked at and removed."""
        for volume in answer.volumes:
            target = volume["target_id"]
            if target and target != self.volume:
                self.here.cloud.adopt(target)
                self._compare(target, "new volume")
                self.here.cloud.delete(target)
        if kind == "restore" and not self.here.books.runs_of(self.volume):
            self._compare(self.volume, "volume")

    def _compare(self, volume: str, what: str) -> None:
        found = tree.differences(self.here.content, self.here.tree_of_volume(volume))
        self.troubles += [f"{what} {volume}: {line}" for line in found]


def soak(minutes: float, say: Callable[[str], None] = print, *, seed: int | None = None) -> int:
    """Soak, and print what came of it; 0 when nothing is left and nothing is lost."""
    seed = seed if seed is not None else random.randrange(10**6)
    say(f"{minutes:g} minutes, {_ACTORS} volumes, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="volflow-soak-") as name, stand(Path(name)) as here:
        volumes = here.cloud.clones(here.source, [f"volume {n}" for n in range(_ACTORS)])
        for volume in volumes:
            if (answer := carry_out(here.order("backup", volume))).result != "complete":
                raise RuntimeError(f"no backup even without a fault: {answer}")
        processes = here.auditor.processes()
        until = time.monotonic() + minutes * 60
        actors = [Actor(here, volume, until, seed + n) for n, volume in enumerate(volumes)]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        done = sum((actor.done for actor in actors), Counter[str]())
        for what, count in sorted(done.items()):
            say(f"{count:5}  {what}")
        troubles = [line for actor in actors for line in actor.troubles]
        troubles += _settled(here)
        troubles += _losses(here, volumes)
        leaks = here.auditor.settled(here.cloud.known, processes=processes, seconds=5)
    for line in [*map(str, leaks), *troubles]:
        say(f"BAD  {line}")
    runs, kills = sum(done.values()), sum(n for what, n in done.items() if "killed" in what)
    say(f"{runs} commands, {kills} killed, {len(leaks)} leaks, {len(troubles)} losses")
    return 1 if leaks or troubles else 0


def _settled(here: Stand) -> list[str]:
    """Do what an operator does in the end: resume what is open, and clean up."""
    troubles = []
    for run in here.books.runs():
        answer = carry_out(here.order("resume", run))
        if answer.error:
            troubles.append(f"resume: {answer.error}")
        for volume in answer.volumes:
            if volume["target_id"] not in (None, volume["volume_id"]):
                here.cloud.delete(here.cloud.adopt(volume["target_id"]))
    if here.books.ledger() or here.locks():
        cleaned = carry_out(here.order("clean"))
        if cleaned.error or any(why for _, why in cleaned.result or []):
            troubles.append(f"leftover clean: {cleaned}")
    return troubles


def _losses(here: Stand, volumes: Sequence[str]) -> list[str]:
    """Look at every volume and every byte of every backup, and restore one of each volume."""
    troubles = []
    for volume in volumes:
        found = tree.differences(here.content, here.tree_of_volume(volume))
        troubles += [f"volume {volume}: {line}" for line in found]
    try:
        here.restic("check", "--read-data")
    except AssertionError as error:
        troubles.append(str(error))
    stored = here.stored()
    for backup in random.sample(stored, min(len(stored), 2 * len(volumes))):
        found = tree.differences(here.content, here.tree_of_backup(backup))
        troubles += [f"backup {backup[:8]}: {line}" for line in found]
    return troubles


def main(arguments: Sequence[str]) -> int:
    """Parse the command line, and soak."""
    parser = argparse.ArgumentParser(prog="soak", description="Kill runs at random moments.")
    parser.add_argument("minutes", type=float, nargs="?", default=15.0)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args(arguments)
    return soak(options.minutes, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
