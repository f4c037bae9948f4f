"""``python -m bench.orchestration_worker COUNT DIRECTORY [URL]``: a run over stand-in volumes.

Prints the cost of the run as JSON. Each run has its own process, so that the memory is only that of
the run.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
from pathlib import Path

from volflow.cli.main import without_eventlet

# Like volflow's own program.
without_eventlet()
gc.disable()

from bench import standin  # noqa: E402
from volflow import config  # noqa: E402
from volflow.api.volflow import Volflow  # noqa: E402
from volflow.context import Context  # noqa: E402
from volflow.plans.selection import Selection  # noqa: E402
from volflow.results.outcome import Outcome  # noqa: E402

gc.freeze()
gc.enable()


def main() -> int:
    count, directory = int(sys.argv[1]), Path(sys.argv[2])
    configuration = directory / "volflow.conf"
    lines = ["[DEFAULT]", f"state_dir = {directory / 'state'}"]
    if len(sys.argv) > 3:
        lines += ["[state]", f"connection = {sys.argv[3]}"]
    configuration.write_text("\n".join(lines) + "\n")
    client, mover = standin.Client(count), standin.Mover()
    context = Context(
        config.load([str(configuration)]),
        cloud=standin.Cloud(client),
        repositories=standin.Repositories(mover),
        host=standin.Host(),
    )
    with Volflow(context) as volflow:
        # The state database is created once on a host, not in every run.
        volflow.context.state.runs.list()
        wall, cpu = time.perf_counter(), time.process_time()
        result = volflow.backups.create(Selection(everything=True))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    complete = sum(volume.outcome is Outcome.COMPLETE for volume in result.volumes)
    if (complete, mover.saved, client.temporary()) != (count, count, 0):
        print(
            f"{complete} volumes complete, {mover.saved} stored, {client.temporary()} temporary "
            f"resources left; of {count}: {result.volumes[0].error}",
            file=sys.stderr,
        )
        return 1
    print(
        json.dumps(
            {
                "wall": wall,
                "cpu": cpu,
                "whole": time.process_time(),
                # Kilobytes on Linux.
                "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
