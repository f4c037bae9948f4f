"""Freezes guests by a command of the operator, and thaws them again whatever happens.

This file runs as a program of its own, as the user of volflow, with nothing but the standard
library:  ``freezing.py SETTINGS``, a JSON object with ``pre`` and ``post`` (command lines),
``limit`` and ``command_limit`` (seconds). It runs ``pre``, and ``post`` as soon as one of these
happens:

* it reads a line from its standard input: volflow asks for it;
* its standard input ends: volflow has ended in any way, because the kernel closes the pipe;
* ``limit`` seconds have passed since the beginning of ``pre``.

``post`` never begins before ``pre`` has ended: a freeze after the thaw would stay. It is repeated
if it fails. Without ``pre``, it only thaws.

It prints one JSON object per line: what became of ``pre``, and of ``post``. It ignores the signals
that end whatever belongs to a terminal or a service.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

#: Why the guests are thawed.
ASKED, GONE, DEADLINE = "asked", "gone", "deadline"
#: How often ``post`` is tried, and the seconds between two attempts.
ATTEMPTS, PAUSE = 3, 1.0
#: Seconds that a command may take to end after SIGTERM, and after SIGKILL.
GRACE, KILLED = 2.0, 3.0

# Bytes of a command's output to report.
_TAIL = 2000
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Keeper:
    """Keeps guests frozen, at most until a deadline.

    :param settings: what the program was called with
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._pre: list[str] = settings["pre"]
        self._post: list[str] = settings["post"]
        self._command_limit = float(settings["command_limit"])
        self._began = time.monotonic()
        self._deadline = self._began + float(settings["limit"])
        self._heard = ""
        self._wake, write = os.pipe()
        os.set_blocking(write, False)
        for number in (signal.SIGCHLD, *_IGNORED):
            # A handler, because a child would inherit that a signal is ignored.
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def keep(self) -> None:
        """Freeze, wait, and thaw."""
        try:
            if self._pre:
                done = self._run("pre", self._pre, heed=True)
                _say({"pre": done})
                if not done["started"]:
                    self._post = []
                    return
            while not self._heard and time.monotonic() < self._deadline:
                self._rest(self._deadline)
        finally:
            if self._post:
                self._thaw(self._heard or DEADLINE)

    def _thaw(self, why: str) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            done = self._run("post", self._post, heed=False)
            if done["status"] == 0 or attempt == ATTEMPTS:
                break
            time.sleep(PAUSE)
        _say({"post": done, "why": why, "seconds": time.monotonic() - self._began})

    def _run(self, stage: str, argv: Sequence[str], *, heed: bool) -> dict[str, Any]:
        """Run a command; returns whether it was started, its status, and what it said.

        :param heed: it is ended when the guests are to be thawed
        """
        until = time.monotonic() + self._command_limit
        if heed:
            until = min(until, self._deadline)
        # A file, not a pipe: what a command leaves in the background can go on writing to it.
        with _file() as said:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env=os.environ | {"VOLFLOW_QUIESCE": stage},
                    start_new_session=True,
                )
            except OSError as error:
                return {"started": False, "status": None, "ended": False, "said": str(error)}
            while (
                process.poll() is None and time.monotonic() < until and not (heed and self._heard)
            ):
                self._rest(until)
            ended = process.poll() is None
            if ended:
                self._end(process)
            status = process.poll() if not ended else None
            return {"started": True, "status": status, "ended": ended, "said": _tail(said)}

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """End a command and its children."""
        for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, KILLED)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            until = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < until:
                self._rest(until)
        with suppress(ProcessLookupError):
            # Children that outlive it could still freeze.
            os.killpg(process.pid, signal.SIGKILL)

    def _rest(self, until: float) -> None:
        """Wait for a word of volflow, the end of a command, or a time."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if not self._heard:
            poll.register(0, select.POLLIN)
        for fd, _ in poll.poll(max(0.0, until - time.monotonic()) * 1000):
            if fd == self._wake:
                os.read(fd, 4096)
            else:
                self._heard = ASKED if os.read(fd, 64) else GONE


def _file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:
        # A full disk must not keep guests frozen.
        return os.fdopen(os.memfd_create("volflow"), "w+b")


def _tail(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - _TAIL))
    return said.read().decode("utf-8", "replace").strip()


def _say(what: dict[str, Any]) -> None:
    with suppress(OSError):
        # Nobody reads it any more when volflow has ended.
        os.write(1, json.dumps(what).encode() + b"\n")


def main(argv: Sequence[str]) -> int:
    Keeper(json.loads(argv[0])).keep()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
