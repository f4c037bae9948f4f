"""volflow in a thread of another program."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading

def work():
    import volflow
    volflow.Volflow

thread = threading.Thread(target=work)
thread.start()
thread.join(60)
print("ended" if not thread.is_alive() else "still waited for", flush=True)
import os
os._exit(0)
"""


def test_a_thread_that_imports_volflow_can_be_joined() -> None:
    """eventlet, which os-brick imports, breaks that in the thread that imports it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.stdout.strip() == "ended", done.stderr
