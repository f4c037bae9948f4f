"""``python -m demo``: exit status 0 if every check is ok, 1 if not, 2 if it cannot run here."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from demo.narrator import Narrator
from demo.program import ProgramError
from demo.remains import MARK, on_host
from demo.server import ServerError
from demo.story import Story
from lab import Lab, LabError

INTERRUPTED = 130


def main() -> int:
    if os.geteuid() != 0:
        print("The demo attaches and mounts volumes: it needs root.", file=sys.stderr)
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    narrator = Narrator()
    # Not in /tmp, which is memory on many machines.
    directory = Path(
        tempfile.mkdtemp(prefix="volflow-demo-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    )
    began = time.monotonic()
    try:
        _run(narrator, directory.resolve())
    except KeyboardInterrupt:
        narrator.say("Interrupted. The demo has removed everything that it made.")
        return INTERRUPTED
    except (LabError, ProgramError, ServerError) as error:
        narrator.failed(str(error))
        return 1
    finally:
        # If the lab is still there, the directory holds mounts.
        if (directory / "lab").exists():
            narrator.failed(f"Left behind: try 'python -m lab down --dir {directory / 'lab'}'.")
        else:
            shutil.rmtree(directory)
    return 0 if narrator.summary(time.monotonic() - began) else 1


def _run(narrator: Narrator, directory: Path) -> None:
    os.environ[MARK] = str(directory)
    narrator.title("volflow: back up two volumes of a real Cinder, lose one, restore both")
    narrator.chapter("A cloud")
    with Lab(directory / "lab") as lab:
        Story(narrator, lab, directory).run()
        narrator.say("The shop's server has ended. Now the cloud ends too.")
    left = on_host(directory)
    narrator.check(
        "Afterwards the host holds nothing of the demo",
        not left,
        "; ".join(left) or "no process, mount, loop device",
    )


def _interrupt(number: int, frame: object) -> None:
    # A second signal must not interrupt the cleaning up that follows.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
