"""``python -m tests.fault_matrix.soak [MINUTES]``: kill runs at random moments, among other runs.

Each of some actors has its own volume: it changes it, backs it up, and restores its backups to a
new volume and in place. All share one cloud, one repository and one state database. Any process is
killed at random; its run is resumed or aborted, and that can be killed too. At the end every run is
resumed, everything is audited, and every reported backup must exist.
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

from tests.fault_matrix.image import change
from tests.fault_matrix.testbed import Testbed, new_testbed
from tests.support import tree
from tests.support.volflow_process import Answer, carry_out, finish, start

_ACTORS = 4
_KILLED = 0.7
_CHANGED = 0.5
# The latest time in seconds at which a process is killed; most end sooner.
_LONGEST = 12.0


class Actor(threading.Thread):
    """Runs one command after the other on one volume.

    :ivar present: the present files on it
    :ivar backups: the files in each reported backup
    :ivar done: how often each result occurred
    :ivar troubles: what went wrong
    """

    def __init__(self, here: Testbed, volume: str, until: float, seed: int) -> None:
        super().__init__(daemon=True)
        self.here, self.volume, self.until = here, volume, until
        self.chance = random.Random(seed)
        self.present = here.tree_of_volume(volume)
        self.backups: dict[str, tree.Tree] = {}
        # The run that the actor knows.
        self._run = ""
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []

    def begin(self) -> None:
        """Make the first backup, without a fault.

        :raises RuntimeError: the backup fails
        """
        answer = carry_out(self.here.order("backup", self.volume))
        if answer.result != "complete":
            raise RuntimeError(f"no backup even without a fault: {answer}")
        self._check("backup", self.volume, self._told(answer))

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self._round()
        except Exception:  # noqa: BLE001 - it is what came of it
            self.troubles.append(traceback.format_exc())

    def _round(self) -> None:
        if self.chance.random() < _CHANGED:
            change(self.here.file(self.volume), f"{self.chance.random()}")
            self.present = self.here.tree_of_volume(self.volume)
        kind = self.chance.choice(["backup", "restore", "restore new"])
        verb, _, new = kind.partition(" ")
        what = self.volume if kind == "backup" else self.chance.choice(list(self.backups))
        answer = self._do(verb, what, **({"options": {"new": True}} if new else {}))
        while runs := self.here.state_reader.runs_of(self.volume):
            (run,) = runs
            over = time.monotonic() > self.until
            verbs = ["resume"] if over else ["resume", "resume", "abort"]
            answer = self._do(self.chance.choice(verbs), run, spared=over)
            if over and self.here.state_reader.runs_of(self.volume):
                self.troubles.append(f"{kind}: it cannot be resumed: {answer}")
                return
        if answer.error:
            self.troubles.append(f"{kind}: {answer.error}")
        self._check(kind, what, self._told(answer))

    def _told(self, answer: Answer) -> Answer:
        """The answer, or, if the process was killed after it, the result in the state database."""
        known, (self._run, result) = self._run, self.here.state_reader.newest(self.volume)
        if not answer.exit or self._run == known:
            return answer
        return Answer(exit=0, result=result["outcome"], volumes=[result])

    def _do(self, verb: str, what: str, *, spared: bool = False, **more: Any) -> Answer:
        order = self.here.order(verb, what, **more)
        process = start(order)
        if not spared and self.chance.random() < _KILLED:
            process.join(self.chance.uniform(0.1, _LONGEST))
            if process.exitcode is None and process.pid:
                os.kill(process.pid, signal.SIGKILL)
        answer = finish(order, process)
        self.done[f"{verb} {'killed' if answer.exit else answer.result}"] += 1
        return answer

    def _check(self, kind: str, what: str, answer: Answer) -> None:
        """Check that the volume has the restored files; a new volume is removed afterwards.

        :param what: the backup that was restored
        """
        complete = answer.result == "complete"
        for volume in answer.volumes:
            target = volume["target_id"]
            if kind == "backup" and complete:
                self.backups[str(volume["backup_id"])] = self.present
            if target and target != self.volume:
                self.here.cloud.adopt(target)
                self._compare(self.backups[what], target, "new volume")
                self.here.cloud.delete(target)
        if kind == "restore" and complete:
            self.present = self.backups[what]
        self._compare(self.present, self.volume, "volume")

    def _compare(self, wanted: tree.Tree, volume: str, what: str) -> None:
        found = tree.differences(wanted, self.here.tree_of_volume(volume))
        self.troubles += [f"{what} {volume}: {line}" for line in found]


def soak(minutes: float, say: Callable[[str], None] = print, *, seed: int | None = None) -> int:
    """Soak and print the results; return 0 if nothing leaked and nothing was lost."""
    seed = seed if seed is not None else random.randrange(10**6)
    say(f"{minutes:g} minutes, {_ACTORS} volumes, seed {seed}")
    with (
        tempfile.TemporaryDirectory(prefix="volflow-soak-") as name,
        new_testbed(Path(name)) as here,
    ):
        volumes = here.cloud.clones(here.source, [f"volume {n}" for n in range(_ACTORS)])
        until = time.monotonic() + minutes * 60
        actors = [Actor(here, volume, until, seed + n) for n, volume in enumerate(volumes)]
        for actor in actors:
            actor.begin()
        processes = here.auditor.processes()
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        done = sum((actor.done for actor in actors), Counter[str]())
        for what, count in sorted(done.items()):
            say(f"{count:5}  {what}")
        troubles = [line for actor in actors for line in actor.troubles]
        troubles += _settled(here)
        troubles += _losses(here, actors)
        leaks = here.auditor.settled(here.cloud.known, processes=processes, seconds=5)
    for line in [*map(str, leaks), *troubles]:
        say(f"BAD  {line}")
    runs, kills = sum(done.values()), sum(n for what, n in done.items() if "killed" in what)
    say(f"{runs} commands, {kills} killed, {len(leaks)} leaks, {len(troubles)} losses")
    return 1 if leaks or troubles else 0


def _settled(here: Testbed) -> list[str]:
    """Clean up at the end, as an operator does."""
    if here.state_reader.ledger() or here.locks():
        cleaned = carry_out(here.order("clean"))
        if cleaned.error or any(why for _, why in cleaned.result or []):
            return [f"leftover clean: {cleaned}"]
    return []


def _losses(here: Testbed, actors: Sequence[Actor]) -> list[str]:
    """Read every byte of every backup, find each reported backup, and restore some."""
    troubles = []
    try:
        here.restic("check", "--read-data")
    except AssertionError as error:
        troubles.append(str(error))
    whole = here.whole()
    for actor in actors:
        told = [*actor.backups]
        troubles += [f"backup {one[:8]} is lost" for one in told if one not in whole]
        for backup in random.sample(told, min(len(told), 3)):
            found = tree.differences(actor.backups[backup], here.tree_of_backup(backup))
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
