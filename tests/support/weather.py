"""The outage of a server: how it begins, what it does to each request, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.support import names
from tests.support.gate import Gate, reset
from tests.support.outages import REPEATED, Mood, Outage, answer

# The longest time in seconds that a request is held.
_HELD = 120.0
# The length in seconds of a passing outage whose failed requests nobody can count.
_BRIEF = 2.0

Answer = tuple[int, list[tuple[str, str]], bytes]
_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length")
# Requests fail before they reach the server.
_CLOSED = (Mood.REFUSED, Mood.UNKNOWN_HOST, Mood.UNTRUSTED)


class Weather:
    """The present outage of the server behind some ports, or none.

    :param known: the file of names for :mod:`tests.support.names`
    """

    def __init__(self, *gates: Gate, known: Path | None = None) -> None:
        self._gates, self._known = gates, known
        self._lock = threading.Lock()
        self._released = threading.Event()
        self.outage: Outage | None = None
        self._left = 0

    def begin(self, outage: Outage, count: Path | None = None) -> None:
        """Let all requests fail from now on.

        :param count: the file in which the client counts its look-ups
        """
        self._released.clear()
        self._left, self.outage = REPEATED, outage
        if outage.mood is Mood.REFUSED:
            for gate in self._gates:
                gate.refuse()
        if outage.mood is Mood.UNKNOWN_HOST and self._known:
            names.write(self._known)
        for gate in self._gates:
            gate.untrusted = outage.mood is Mood.UNTRUSTED
            if outage.mood in _CLOSED:
                gate.drop()
        if outage.mood in _CLOSED and not outage.lasting:
            threading.Thread(target=self._watch, args=(outage, count), daemon=True).start()

    def _watch(self, outage: Outage, count: Path | None) -> None:
        """End a passing outage in which no request reaches the server."""
        enough = names.looked_up(count) + REPEATED if count else 0
        until = time.monotonic() + _BRIEF
        while self.outage is outage and not (
            names.looked_up(count) >= enough if count else time.monotonic() > until
        ):
            time.sleep(0.02)
        if self.outage is outage:
            self.end()

    def end(self) -> None:
        """Let all requests succeed again, and release those that are held."""
        with self._lock:
            self.outage = None
            if self._known:
                names.write(self._known, names.CINDER)
            for gate in self._gates:
                gate.untrusted = False
                gate.accept()
            self._released.set()

    def fail(self, handler: BaseHTTPRequestHandler, forward: Callable[[], Answer]) -> bool:
        """Let one request fail; return False if no outage exists any more.

        :param forward: carries the request out
        """
        with self._lock:
            outage = self.outage
            if outage is None:
                return False
            self._left -= 1
            last = not outage.lasting and self._left == 0 and outage.mood not in _CLOSED
        mood = outage.mood
        if last and mood is not Mood.SILENT:
            # Before the answer, so that the next request succeeds for certain.
            self.end()
        if mood in (*_CLOSED, Mood.RESET):
            reset(handler)
        elif mood is Mood.SILENT:
            self._hold(handler, outage, last=last)
        elif mood in (Mood.CUT, Mood.BROKEN_OFF):
            _cut(handler, forward(), shorter=mood is Mood.CUT)
        else:
            send(handler, answer(mood))
        return True

    def _hold(self, handler: BaseHTTPRequestHandler, outage: Outage, *, last: bool) -> None:
        handler.close_connection = True
        until = time.monotonic() + _HELD
        # The client hangs up when it has waited long enough.
        while time.monotonic() < until and not self._released.wait(0.05):
            if _hung_up(handler):
                break
        if last and self.outage is outage:
            self.end()


def _hung_up(handler: BaseHTTPRequestHandler) -> bool:
    handler.connection.settimeout(0.01)
    try:
        return handler.connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def send(handler: BaseHTTPRequestHandler, told: Answer, length: int | None = None) -> None:
    """Send an answer, if the client still waits for it.

    :param length: the length that it claims, if not its own
    """
    status, headers, body = told
    try:
        handler.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)
    except OSError:
        handler.close_connection = True


def _cut(handler: BaseHTTPRequestHandler, told: Answer, *, shorter: bool) -> None:
    """Send half of an answer.

    :param shorter: give its length as if it were complete
    """
    status, headers, body = told
    half = body[: len(body) // 2]
    if shorter and half:
        send(handler, (status, headers, half))
        return
    send(handler, (status, headers, half), max(len(body), 1))
    handler.close_connection = True
