"""Loads eventlet where it cannot harm the thread that needs os-brick.

os-brick and TaskFlow import eventlet where that is installed. It runs a second copy of the module
``threading``, which takes its thread for the main thread and replaces the lock that ``join`` waits
for (CPython before 3.13): a program that imports volflow in a thread could wait for the end of that
thread forever.
"""

from __future__ import annotations

import importlib.util
import sys
import threading


def load() -> None:
    """Import eventlet, if it is installed, in a thread that nobody joins."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main or "eventlet" in sys.modules or importlib.util.find_spec("eventlet") is None:
        return
    done = threading.Event()

    def work() -> None:
        try:
            importlib.import_module("eventlet")
        finally:
            done.set()

    threading.Thread(target=work, name="import eventlet", daemon=True).start()
    done.wait()
