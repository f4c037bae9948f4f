"""Kill a run on purpose: ``python -m tests.support.killed_run CONFIG ORDER``, the order as JSON.

Each volume's flow stops at its own place and waits there. When the last flow has arrived, the
process is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

from tests.support import faults

# Seconds for all flows to reach their places.
PATIENCE = 200.0


def main(config_file: str, order: dict[str, Any]) -> None:
    """Start a backup or a restore that will be killed."""
    from volflow import config
    from volflow.api.volflow import Volflow
    from volflow.context import Context
    from volflow.results.options import RestoreOptions

    places = {volume: faults.Place(*place) for volume, place in order["places"].items()}
    arrived: set[str] = set()
    lock = threading.Lock()

    def die(volume: str, place: faults.Place) -> None:
        with lock:
            arrived.add(volume)
            if arrived == places.keys():
                os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    def give_up() -> None:
        for volume, place in places.items():
            if volume not in arrived:
                print(f"{volume} never came to: {place}", file=sys.stderr, flush=True)
        os._exit(99)

    timer = threading.Timer(PATIENCE, give_up)
    timer.daemon = True
    timer.start()
    with (
        faults.injected(places, die),
        Volflow(Context(config.load([config_file]))) as volflow,
    ):
        if order["flow"] == "backup":
            volflow.backups.create(list(places), parallel=len(places))
        else:
            options = RestoreOptions(**faults.OPTIONS[order["flow"]])
            plan = volflow.restores.plan(order["backups"], options, parallel=len(places))
            volflow.restores.run(plan)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
