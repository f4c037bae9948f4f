"""Stores, restores or compares images in a process of its own, as root: one for each volume.

It reads its job from its standard input, one JSON document, because the job contains the master key
of the repository, which must not stand on a command line. It writes JSON to its standard output, a
line each time: ``{"done": BYTES, "total": BYTES}`` for progress, then ``{"summary": {...}}`` or
``{"error": {"kind": ..., "message": ..., "errno": ...}}``.

    python -I -m volflow.movers.native.program <JOB
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from volflow.errors import VolflowError
from volflow.movers.native import memory
from volflow.movers.native.backup import Backup, Image, content_of
from volflow.movers.native.crypto import Key
from volflow.movers.native.plan import Plan
from volflow.movers.native.restoring import Restorer
from volflow.movers.native.store import Store, is_native
from volflow.times import moment_of

# More threads need more memory, and hardly go faster.
_THREADS = 4
_INTERRUPTED = 130


def run(job: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Do a job: ``look``, ``save``, ``forget``, ``restore`` or ``compare``.

    :param tell: called with each line of the output
    :raises VolflowError: it failed
    :raises OSError: the repository cannot be read or written
    """
    path, key = Path(job["repository"]), Key.of(job["key"])
    if job["action"] == "look":
        tell({"summary": {"native": is_native(path, key)}})
        return
    store = Store(path, key)
    if job["action"] == "forget":
        with store.lock().held():
            store.snapshots.remove(store.snapshots.full_id(job["snapshot"]))
        tell({"summary": {}})
        return
    images = [Image.of(each) for each in job["images"]]
    threads = int(job.get("threads") or max(2, min(_THREADS, os.cpu_count() or 1)))
    total = sum(image.size for image in images)

    def report(done: int) -> None:
        tell({"done": done, "total": total})

    report(0)
    summary: dict[str, Any] = {}
    if job["action"] == "save":
        backup = Backup(
            store,
            images,
            maps=Path(job["maps"]) if job.get("maps") else None,
            volume=str(job["volume"]),
            full=bool(job.get("full")),
            modified=moment_of(job["time"]) or datetime.now(UTC),
        )
        stored = backup.save(job["snapshot"], _now, threads, report)
        summary = asdict(stored)
    elif store.directory.writable:
        with store.lock().held():
            _read(store, job, images, threads, report)
    else:
        # As restic is told to do in a repository that is read-only.
        _read(store, job, images, threads, report)
    report(total)
    tell({"summary": summary})


def _read(
    store: Store,
    job: Mapping[str, Any],
    images: list[Image],
    threads: int,
    report: Callable[[int], None],
) -> None:
    restores = job["action"] == "restore"
    for image in images:
        content = content_of(store, job["snapshot"], image)
        plan = Plan(store.index, content, image.size, str(image.path))
        with image.opened(write=restores).opened() as device:
            restorer = Restorer(store, device, plan, threads, report)
            if restores:
                restorer.restore(blank=bool(job.get("blank")))
            else:
                restorer.compare()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _tell(line: Mapping[str, Any]) -> None:
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Do the job on the standard input; returns the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    memory.keep()
    try:
        run(json.load(sys.stdin), _tell)
    except VolflowError as error:
        _tell({"error": {"kind": _kind(error), "message": str(error), "errno": 0}})
        return 1
    except OSError as error:
        _tell({"error": {"kind": "OSError", "message": str(error), "errno": error.errno or 0}})
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _kind(error: VolflowError) -> str:
    """The class of :mod:`volflow.errors` that an error belongs to."""
    return next(
        one for one in type(error).__mro__ if one.__module__ == VolflowError.__module__
    ).__name__


if __name__ == "__main__":
    sys.exit(main())
