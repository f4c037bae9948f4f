"""The public API works in a thread of another program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

def work():
    from volflow import Volflow, load_config
    from volflow.runs.prepare import load_libraries

    conf = load_config([sys.argv[1]])
    with Volflow.from_config(conf) as volflow, ThreadPoolExecutor(2) as pool:
        # The imports that a run needs, in threads as a run does them.
        pool.submit(load_libraries).result()
        pool.submit(lambda: volflow.context.host.connector).result()
    print("imported", flush=True)

thread = threading.Thread(target=work)
thread.start()
thread.join(60)
print("ended" if not thread.is_alive() else "still waited for", flush=True)
import os
os._exit(0)
"""


def test_a_thread_that_imports_volflow_can_be_joined(tmp_path: Path) -> None:
    """os-brick and TaskFlow import eventlet, which breaks a join of the thread that imports it."""
    configuration = tmp_path / "volflow.conf"
    configuration.write_text(f"[DEFAULT]\nstate_dir = {tmp_path / 'state'}\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(configuration)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
    assert done.stdout.split() == ["imported", "ended"], done.stderr
