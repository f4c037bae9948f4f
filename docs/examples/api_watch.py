"""Watch a run that another process drives, until it ends."""

import sys

from volflow import NullObserver, Volflow


class Steps(NullObserver):
    """Prints each step of each volume."""

    def step(self, volume_id: str, step: str, state: str) -> None:
        print(volume_id, step, state.lower(), flush=True)


with Volflow.from_config() as volflow:
    run = volflow.runs.watch(sys.argv[1], Steps())
    print(run.id, volflow.runs.status(run))
